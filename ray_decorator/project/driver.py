"""The driver's own process: what was started, where, and which import paths are the user's own."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from .roots import installation_folders, is_in


def main_script() -> Path | None:
    """The file that was started; None in an interactive session."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(file).resolve() if file else None


def module_name() -> str | None:
    """What was started by ``python -m``, as it was named there; None where that is not how it was started."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return str(spec.name).removesuffix(".__main__") if spec is not None else None


def project_paths() -> tuple[str, ...]:
    """Entries of sys.path that hold neither Python's library nor installed packages; real paths, in order."""
    known = installation_folders()
    entries = dict.fromkeys(os.path.realpath(entry) for entry in sys.path)
    return tuple(
        e for e in entries if not e.endswith(".zip") and not any(is_in(e, folder) for folder in known)
    )


def working_directory() -> str:
    """Where this process is. Raises InputError where that directory is gone."""
    try:
        return os.getcwd()
    except OSError as exc:
        raise InputError(
            f"{_gone()}: relative paths lead nowhere. Go to a directory that exists (os.chdir in the program, "
            "cd in the shell), and start again"
        ) from exc


def _gone() -> str:
    with contextlib.suppress(OSError):  # as Linux tells it
        path = os.readlink("/proc/self/cwd").removesuffix(" (deleted)")
        return f"the working directory of this process, {path}, is gone"
    return "the working directory of this process is gone"


def started_at() -> Path:
    """Where relative paths start: here, or where a Hydra app was started that moved us to its output.

    Raises InputError where the directory of this process is gone.
    """
    here = working_directory()
    hydra = hydra_config()
    # Hydra's config may be left over from an app that has ended in this process
    output = _output_dir(hydra)
    moved = output is not None and os.path.realpath(output) == here
    return Path(hydra.runtime.cwd if moved else here)


def _output_dir(hydra: Any) -> str | None:
    if hydra is None:
        return None
    from omegaconf import OmegaConf

    found: str | None = OmegaConf.select(
        hydra, "runtime.output_dir"
    )  # None as well where it is not known yet
    return found


def places() -> tuple[Path, ...]:
    """Where the app is: the directory that it was started in, then its script's."""
    script = main_script()
    return (started_at(), script.parent) if script is not None else (started_at(),)


def hydra_config() -> Any:
    """Hydra's own config where one of its apps runs in this process; None without importing Hydra."""
    module = sys.modules.get("hydra.core.hydra_config")
    if module is None or not module.HydraConfig.initialized():
        return None
    return module.HydraConfig.get()
