"""Where things stand on a worker: the node's own directory, and the driver's, where it is in sight.

A path alone does not say whether a directory is the very one that the driver means.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .model import Place


def node_root() -> Path:
    """Where this node keeps its cache and the jobs' scratch directories; RAY_S3_NODE_DIR moves it."""
    named = os.environ.get("RAY_S3_NODE_DIR")
    return Path(named) if named else Path(tempfile.gettempdir()) / f"ray_s3_{os.getuid()}"


def place_of(path: Path) -> Place | None:
    """The mark by which a worker recognises the directory ``path``; None where the system has no boot id."""
    boot_id = _boot_id()
    if boot_id is None:
        return None
    stat = path.stat()
    return Place(str(path), boot_id, stat.st_dev, stat.st_ino)


def is_here(place: Place) -> bool:
    """Whether this process stands before the very directory that ``place`` marks, and may write to it."""
    try:
        stat = os.stat(place.path)
    except OSError:
        return False
    same = (stat.st_dev, stat.st_ino) == (place.device, place.inode) and _boot_id() == place.boot_id
    return same and os.access(place.path, os.W_OK)


def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


_start: Path | None = None
_code: str | None = None
_main: Path | None = None


def start_is_at(directory: Path) -> None:
    """In this process, ``directory`` stands for the one where the driver was started."""
    global _start
    _start = directory


def stand_in() -> Path | None:
    """What stands for the driver's working directory in this process; None where that is the very same."""
    return _start


def code_is_at(directory: Path, main: Path | None) -> None:
    """In this process, the user's code lies below ``directory``, and in it the driver's script ``main``."""
    global _code, _main
    _code, _main = f"{directory}{os.sep}", main


def main_is_at() -> str | None:
    """The driver's script, put down for this process; None where it is the very same, or not there."""
    return None if _main is None else str(_main)


def is_code(file: str) -> bool:
    """Whether ``file`` is of the user's code, put down for this process."""
    return _code is not None and file.startswith(_code)
