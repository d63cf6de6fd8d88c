"""Objects in a directory that is a DVC remote are kept as DVC keeps them there (dvc-data: ``LocalHashFileDB``)."""

from __future__ import annotations

import contextlib
import os

from ..content import shared_folders
from ..core.values.stores import DvcDirectory

_READ_ONLY = 0o444


def make_room(kept_as: DvcDirectory, file: str) -> None:
    """Make the folder for an object's file. Raises OSError."""
    shared_folders.make(os.path.dirname(file), shared=kept_as.shared)


def protect(file: str) -> None:
    """Let nobody write to an object's file, where that can be: DVC hashes all others again."""
    with contextlib.suppress(OSError):  # another user has just replaced it; some file systems have no modes
        os.chmod(file, _READ_ONLY)
