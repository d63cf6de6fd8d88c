"""A job on another machine that uses Ray itself: its tasks run on the same cluster, with the job's packages.

What of the user's code they need travels by value: other nodes need not have it. Their workers run in the
cluster's own Python, and are given the packages before anything else (``worker_process_setup_hook``).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..cluster import ray_api
from ..core.values.bundles import Requirements
from ..job.process.workplace import is_code
from . import entry, runner
from .own_source import zipped_source

_HOOK = "worker_process_setup_hook"
_has_joined = False


def ray_begins(runtime_env: dict[str, Any] | None) -> dict[str, Any]:
    """Ray calls this before it connects (RAY_RUNTIME_ENV_HOOK): the runtime_env of the job's own tasks."""
    import ray.cloudpickle

    ray_api.join_node(os.environ["RAY_S3_NODE_ID"])
    _join_placement_group(os.environ.get("RAY_S3_PLACEMENT_GROUP", ""))
    requirements = runner.nested_ray_begins()
    for name, module in sys.modules.copy().items():  # in one step: other threads import
        if "." not in name and _is_code(module):
            ray.cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    given = dict(runtime_env or {})
    if (
        requirements is None
        or _HOOK in given
        or any(_has_password(pin) for pin in requirements.pins.values())
    ):
        return given
    entry.travel_by_value()
    return {**given, _HOOK: _with_packages(_without_passwords(requirements), zipped_source())}


def _join_placement_group(given: str) -> None:
    """The job's own process is another driver to Ray, which knows nothing of the group that the job is in."""
    global _has_joined
    if given or _has_joined:  # an earlier job of this process may have been in another
        _has_joined = True
        group, _, captures = given.partition(" ")
        ray_api.join_placement_group(group, captures == "captures")


def _with_packages(requirements: Requirements, runtime: bytes) -> Callable[[], None]:
    """A function for a worker's start; it travels by value."""
    import pickle

    wanted, refusal, put_down = pickle.dumps(requirements), entry.refusal, entry.put_down

    def prepare() -> None:
        import pickle
        import sys

        def leave(problem: object) -> None:  # a worker that fails here is started again and again
            print(f"ray-s3: this task has the cluster's own packages alone: {problem}", file=sys.stderr)

        if (problem := refusal()) is not None:
            return leave(problem)
        put_down(runtime)
        from ray_decorator.core.errors import RayS3Error
        from ray_decorator.core.machine.directories import node_directory
        from ray_decorator.environment import build

        try:
            python = build.interpreter(pickle.loads(wanted), node_directory("envs").parent)
        except RayS3Error as exc:
            return leave(exc)
        build.enter(python)

    return prepare


def _without_passwords(requirements: Requirements) -> Requirements:
    """All who use the cluster can read a runtime_env. What needs a password, the job's node has built."""
    kept = {
        name: " ".join(index for index in value.split() if not _has_password(index))
        for name, value in requirements.indexes.items()
        if not name.endswith(("_USERNAME", "_PASSWORD"))
    }
    return replace(requirements, indexes=kept)


def _has_password(text: str) -> bool:
    return "@" in text.partition("://")[2].partition("/")[0]


def _is_code(module: Any) -> bool:
    file = getattr(module, "__file__", None)
    # a namespace package has no file, and a path for each of its parts
    parts = [file] if file else [str(part) for part in getattr(module, "__path__", ())]
    return any(is_code(os.path.join(part, "")) for part in parts)
