"""Where DVC's repositories are: a directory with a ``.dvc`` directory in it is one (dvc: ``repo/__init__.py``)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..core.paths import upwards

DVC_DIR = ".dvc"
_WORKSPACE = re.compile(r"(?P<main>.*)/\.dvc/tmp/exps/(standalone/)?tmp[^/]+(?P<inner>/.*)?")


def root_of(path: str | os.PathLike[str]) -> str | None:
    """The repository that the path is in, the nearest one up to its mount point; None where there is none.

    The path is taken as it is written: a link in it counts as a directory of its own, as for DVC. A path that
    is a repository itself is in itself.
    """
    for at in upwards(os.path.abspath(path)):
        if os.path.isdir(os.path.join(at, DVC_DIR)):
            return at
        if os.path.ismount(at):
            break
    return None


def original_of(path: str) -> str:
    """What a path in the temporary workspace of `dvc exp run --temp` or ``--queue`` is a copy of; else the path.

    DVC clones the repository of git into ``.dvc/tmp/exps`` (dvc: ``experiments/executor/local.py``), and removes the
    clone when the experiment has ended.
    """
    if (found := _WORKSPACE.fullmatch(path)) is None:
        return path
    main = Path(found["main"])
    top = next((at for at in (main, *main.parents) if (at / ".git").exists()), main)
    return f"{top}{found['inner'] or ''}"
