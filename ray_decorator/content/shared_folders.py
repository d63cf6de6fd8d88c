"""Folders that a group shares, as DVC makes them: the group may write to them, and owns what comes into them."""

from __future__ import annotations

import contextlib
import os

_MODE = 0o2775  # dvc-data: LocalHashFileDB


def make(folder: str, *, shared: bool) -> None:
    """Make a folder, and those above it, where they are not there; with ``shared``, for the group. Raises OSError."""
    if not shared:
        os.makedirs(folder, exist_ok=True)
        return
    if os.path.isdir(folder):
        return
    make(os.path.dirname(folder), shared=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
        os.chmod(folder, _MODE)  # whatever the umask is
