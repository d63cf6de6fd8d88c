"""Folders that Hydra's jobs have left, told by what is in them: ``names``, of which nothing is opened."""

from __future__ import annotations

import os
import re
from collections.abc import Collection

HYDRAS_FOLDERS = ("outputs", "multirun")  # with 2026-01-31/23-59-59 in them, unless Hydra is told otherwise
_DAY, _TIME = re.compile(r"\d{4}-\d\d-\d\d"), re.compile(r"\d\d-\d\d-\d\d")


def is_job(folder: str, names: Collection[str]) -> bool:
    """Whether a job has run in it."""
    return ".hydra" in names and os.path.isfile(os.path.join(folder, ".hydra", "hydra.yaml"))


def is_sweep(folder: str, names: Collection[str]) -> bool:
    """Whether jobs ran beside multirun.yaml: a folder of configs may have a file of that name as well."""
    return "multirun.yaml" in names and (
        any(name.isdecimal() for name in names)
        or any(is_job(os.path.join(folder, name), (".hydra",)) for name in names)
    )


def holds_runs(folder: str, names: Collection[str]) -> bool:
    """Whether this is ``outputs`` or ``multirun``, with runs in it; with modules in it, it is a package."""
    if os.path.basename(folder) not in HYDRAS_FOLDERS or any(name.endswith(".py") for name in names):
        return False
    days = (os.path.join(folder, name) for name in names if _DAY.fullmatch(name))
    return any(_TIME.fullmatch(entry) for day in days for entry in _names(day))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
