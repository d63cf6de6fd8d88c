"""What never travels as code, wherever a walk comes to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ...content.temporary import is_temporary

_NEVER = frozenset(
    {
        *(".git", ".hg", ".svn", ".dvc", ".tox", ".nox", "__pycache__", "node_modules"),
        *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".ipynb_checkpoints"),
    }
)
_BESIDE = re.compile(r"\.(ray_s3(-\d+)?|failed)\Z")


@dataclass(frozen=True, slots=True)
class Limits:
    """What no walk takes: absolute real paths. ``never_whole`` are folders that are nobody's project.

    ``left_out`` are files and folders that travel otherwise, or not at all (deps, outs), ``closed`` folders
    that hold no code of the user's: installed packages, Hydra's outputs. ``in_use`` are folders that hold, at
    any depth, what this process imports from or works in: they travel also where jobs have run in them.
    ``earlier`` is what earlier runs wrote. ``stays`` tells of a path, and whether that is a folder, if it stays at
    home unless git tracks it.
    """

    left_out: frozenset[str]
    closed: frozenset[str]
    never_whole: frozenset[str]
    in_use: frozenset[str]
    earlier: frozenset[str] = frozenset()
    stays: Callable[[str, bool], bool] = lambda path, is_folder: False

    def forbid(self, path: str, name: str, folder: bool) -> bool:
        """Whether ``path``, of which ``name`` is the last part, never travels, whatever git says of it."""
        if name in _NEVER or path in self.left_out:
            return True
        return path in self.closed if folder else name.endswith(".pyc") or is_temporary(name)

    def is_earlier(self, path: str) -> bool:
        """Whether an earlier run wrote it, or what it could not put there beside it."""
        return path in self.earlier or _BESIDE.sub("", path) in self.earlier
