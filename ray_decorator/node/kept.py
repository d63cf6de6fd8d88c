"""What jobs left on a node is listed and read there, by tasks without CPUs that travel by value.

Only what is in the node's own directory is. Imports anything of ours on a node inside functions only: see entry.py.
"""

from __future__ import annotations

import os
import stat

from ..core.machine.directories import node_root, why_not_ours


def listed(path: str) -> list[tuple[str, int, int]] | None:
    """Each file at or below ``path``: its relative path (``""``: itself), size in bytes, and mode; None: not there.

    Links to files are read through; others are left out. Raises PermissionError where others could have put
    files there.
    """
    if not _is_ours(path):
        return None
    if not os.path.isdir(path):
        return [_row("", path)]
    return [
        _row(os.path.relpath(os.path.join(folder, name), path), os.path.join(folder, name))
        for folder, _, names in os.walk(path)
        for name in sorted(names)
        if os.path.isfile(os.path.join(folder, name))
    ]


def read(path: str, relpath: str, offset: int, size: int) -> bytes:
    """A part of one of these files. Raises OSError, as `listed` does."""
    if not _is_ours(path):
        raise FileNotFoundError(path)
    with open(os.path.join(path, relpath) if relpath else path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def _is_ours(path: str) -> bool:
    root = node_root()
    if (problem := why_not_ours(root)) is not None:
        raise PermissionError(problem)
    return os.path.exists(path) and os.path.realpath(path).startswith(os.path.realpath(root) + os.sep)


def _row(relpath: str, path: str) -> tuple[str, int, int]:
    status = os.stat(path)
    return relpath, status.st_size, stat.S_IMODE(status.st_mode)
