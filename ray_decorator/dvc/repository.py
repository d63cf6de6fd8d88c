"""Where DVC's repositories are: a directory with a ``.dvc`` directory in it is one (dvc: ``repo/__init__.py``)."""

from __future__ import annotations

import os

DVC_DIR = ".dvc"


def root_of(path: str | os.PathLike[str]) -> str | None:
    """The repository that the path is in, the nearest one up to its mount point; None where there is none.

    The path is taken as it is written: a link in it counts as a directory of its own, as for DVC. A path that
    is a repository itself is in itself.
    """
    at = os.path.abspath(path)
    while True:
        if os.path.isdir(os.path.join(at, DVC_DIR)):
            return at
        if os.path.ismount(at) or at == os.path.dirname(at):
            return None
        at = os.path.dirname(at)
