"""The files of a project that are its code, and not data, secrets, environments or what tools leave behind.

    what git would not ignore + what git tracks + what this process has imported - what never travels

Links to files are read through. Links to folders are left out, wherever they lead, as git and the store's
manifests do. Sockets, FIFOs, devices and links that lead nowhere are passed over, as git does.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .ignoring import Ignores, above, is_ignored, read, repository, tracked
from .temporary import is_temporary

_NEVER = frozenset(
    {
        *(".git", ".hg", ".svn", ".dvc", ".env", ".tox", ".nox", "__pycache__", "node_modules"),
        *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".ipynb_checkpoints"),
    }
)
_SMALL = 1024 * 1024  # bytes; of what lies beside a script in a home directory


@dataclass(frozen=True, slots=True)
class Limits:
    """What no walk takes: absolute real paths. ``never_whole`` are folders that are nobody's project.

    ``left_out`` are files and folders that travel otherwise, or not at all (deps, outs), ``closed`` folders
    that hold no code of the user's: installed packages, Hydra's outputs.
    """

    left_out: frozenset[str]
    closed: frozenset[str]
    never_whole: frozenset[str]

    def forbid(self, path: str, name: str, folder: bool) -> bool:
        """Whether ``path``, of which ``name`` is the last part, never travels, whatever git says of it."""
        if name in _NEVER or path in self.left_out:
            return True
        if name.startswith(".env.") and name != ".env.example":
            return True
        return path in self.closed if folder else _is_secret_or_waste(path, name)


class Walk:
    """Gathers the files of one root. ``files``: absolute path -> size in bytes; ``problems`` adds up."""

    def __init__(self, root: str, limits: Limits, problems: list[str]) -> None:
        self.files: dict[str, int] = {}
        self._root = root
        self._limits = limits
        self._problems = problems
        self._folders: set[str] = set()
        self._closed: dict[str, bool] = {root: False}

    def whole(self, imported: Collection[str], starts: Iterable[str]) -> None:
        """All code of the root. ``starts`` are folders in it that are code even where git ignores them."""
        top = repository(self._root, self._limits.never_whole)
        self._below(self._root, above(self._root, top) if top else ())
        for start in starts:
            if start not in self._folders and not self._is_left_out(start):
                self._below(start, above(start, top) if top else ())
        self._also(tracked(self._root) if top else ())
        self._also(imported)

    def surface(self, imported: Collection[str], others: Collection[str]) -> None:
        """The modules, packages and small files directly in the root, but for the folders ``others``."""
        for entry in _scan(self._root, []):
            if entry.path in others or self._limits.forbid(entry.path, entry.name, entry.is_dir()):
                continue
            if entry.is_dir(follow_symlinks=False):
                if os.path.isfile(os.path.join(entry.path, "__init__.py")):
                    self._below(entry.path, ())
            elif entry.name.endswith(".py") and os.access(entry.path, os.R_OK):
                self._add(entry.path)
            elif not entry.name.startswith(".") and os.access(entry.path, os.R_OK):
                self._add(entry.path, most=_SMALL)
        within = tuple(os.path.join(folder, "") for folder in others)
        self._also(path for path in imported if not path.startswith(within))

    def _below(self, start: str, ignores: Ignores) -> None:
        pending = [(start, ignores)]
        while pending:
            folder, ignores = pending.pop()
            entries = _scan(folder, self._problems)
            names = {entry.name for entry in entries}
            if folder != start and _is_environment(names):
                continue
            self._folders.add(folder)
            if ".gitignore" in names:
                ignores += read(folder, os.path.join(folder, ".gitignore"))
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                if self._limits.forbid(entry.path, entry.name, is_folder):
                    continue
                if is_ignored(ignores, entry.path, entry.name, is_folder):
                    continue
                if is_folder:
                    pending.append((entry.path, ignores))
                else:
                    self._add(entry.path, link=entry.is_symlink())

    def _also(self, paths: Iterable[str]) -> None:
        inside = os.path.join(self._root, "")
        for path in paths:
            if path in self.files or not path.startswith(inside):
                continue
            folder, name = os.path.split(path)
            if not self._limits.forbid(path, name, False) and not self._is_closed(folder):
                self._add(path, link=os.path.islink(path))

    def _add(self, path: str, *, link: bool = True, most: int | None = None) -> None:
        try:
            status = os.stat(path)
        except OSError:
            return
        if not stat.S_ISREG(status.st_mode) or (most is not None and status.st_size >= most):
            return
        if link and self._is_left_out(os.path.realpath(path)):
            return
        if os.access(path, os.R_OK):
            self.files[path] = status.st_size
        else:
            self._problems.append(unreadable(path))

    def _is_left_out(self, path: str) -> bool:
        at = path
        while at != self._root and at != os.path.dirname(at):
            if at in self._limits.left_out:
                return True
            at = os.path.dirname(at)
        return False

    def _is_closed(self, folder: str) -> bool:
        if folder in self._folders:
            return False
        if folder not in self._closed:
            parent, name = os.path.split(folder)
            self._closed[folder] = (
                self._is_closed(parent)
                or self._limits.forbid(folder, name, True)
                or os.path.islink(folder)
                or _is_environment({entry.name for entry in _scan(folder, [])})
            )
        return self._closed[folder]


def imported(installed: tuple[str, ...]) -> set[str]:
    """The absolute real paths of the files that this process's modules came from, but for ``installed``."""
    real_folders: dict[str, str] = {}
    files = set()
    for module in list(sys.modules.values()):
        try:
            # a lazy module would load itself if asked in the usual way
            file = object.__getattribute__(module, "__dict__").get("__file__")
        except AttributeError:
            continue
        if not isinstance(file, str) or file.startswith(installed):
            continue
        folder, name = os.path.split(os.path.abspath(file))
        if folder not in real_folders:
            real_folders[folder] = os.path.realpath(folder)
        path = os.path.join(real_folders[folder], name)
        if not path.startswith(installed):
            files.add(path)
    return files


def unreadable(path: str) -> str:
    """What to say of a path that the walk cannot look into."""
    return (
        f"{path}: cannot be read, and would travel with the project's code; "
        "add it to .gitignore if it is no code, or make it readable"
    )


def _scan(folder: str, problems: list[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
    except OSError:
        problems.append(unreadable(folder))
        return []


def _is_environment(names: Collection[str]) -> bool:
    return "pyvenv.cfg" in names or "conda-meta" in names


def _is_secret_or_waste(path: str, name: str) -> bool:
    if name.endswith((".pyc", ".pem")) or is_temporary(name):
        return True
    if name.startswith("id_rsa"):
        return not name.endswith(".py")
    return name == "credentials" and os.path.basename(os.path.dirname(path)) == ".aws"
