"""The user's code on another machine is a DVC repository there too: `dvc.api.params_show()` works in a job.

DVC's own files (``dvc.yaml``, ``dvc.lock``, ``params.yaml``, ``*.dvc``) travel as code, or beside it (own_files.py).
Of ``.dvc`` nothing does: it holds secrets and a cache. In its place there is a config of one line, by which DVC does
without git.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..content.temporary import beside
from ..core.machine.directories import cache_home, private_directory
from .repository import DVC_DIR, root_of

_CONFIG = b"[core]\n    no_scm = true\n"


def config_for(files: Iterable[tuple[str, str]], start: Path) -> list[tuple[str, str]]:
    """What to add to the code of an app that is started in ``start``; pairs as ``files`` are.

    These are a path in the code, with ``/``, and an absolute one.
    """
    root = root_of(start)
    if root is None:
        return []
    inside = os.path.join(os.path.realpath(root), "")
    for place, path in files:
        relpath = path.removeprefix(inside)
        if relpath != path and f"/{place}".endswith(f"/{relpath}"):
            return [(f"{place.removesuffix(relpath)}{DVC_DIR}/config", _written())]
    return []


def _written() -> str:
    file = private_directory(cache_home()) / "dvc_config"
    if not file.is_file() or file.read_bytes() != _CONFIG:
        temporary = Path(beside(str(file)))
        temporary.write_bytes(_CONFIG)
        os.replace(temporary, file)
    return str(file)
