"""Run functions and Hydra jobs on Ray while their data stays on your disk.

    @ray_decorator(deps=["data_dir"], outs=["output_dir"])      a function
    ray_zen(task, deps=["data_dir"]).hydra_main(…)              a hydra-zen app
    python app.py hydra/launcher=ray_s3                         a Hydra app, as it stands

The names below are loaded when they are asked for: Hydra apps that never use Ray import this package too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .core.machine import start as _start  # noqa: F401  it notes what the environment is now

if TYPE_CHECKING:
    from .core.errors import (
        BucketNotFoundError,
        ClusterError,
        CorruptObjectError,
        HomeError,
        InputError,
        JobError,
        MissingDepError,
        MissingObjectError,
        NodeDiskError,
        PackagesError,
        PicklingError,
        RayS3Error,
        StoreDeniedError,
        StoreError,
        StoreUnreachableError,
    )
    from .frontends.decorator import RayFunction, ray_decorator
    from .frontends.zen import RayZen, ray_zen
    from .job.checkpoints import checkpoint

__all__ = [
    "BucketNotFoundError",
    "ClusterError",
    "CorruptObjectError",
    "HomeError",
    "InputError",
    "JobError",
    "MissingDepError",
    "MissingObjectError",
    "NodeDiskError",
    "PackagesError",
    "PicklingError",
    "RayFunction",
    "RayS3Error",
    "RayZen",
    "StoreDeniedError",
    "StoreError",
    "StoreUnreachableError",
    "checkpoint",
    "ray_decorator",
    "ray_zen",
]

_MODULES = {
    "RayFunction": "frontends.decorator",
    "RayZen": "frontends.zen",
    "checkpoint": "job.checkpoints",
    "ray_decorator": "frontends.decorator",
    "ray_zen": "frontends.zen",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f".{_MODULES.get(name, 'core.errors')}", __name__)
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] != "hydra_zen":
            raise
        raise ImportError(
            f"{name} needs hydra-zen, which is not installed: pip install 'ray-decorator[zen]'"
        ) from exc
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
