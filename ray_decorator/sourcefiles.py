"""The files of a project that are its code, and not data, secrets, environments or what tools leave behind.

    what git would not ignore - what Hydra's jobs have left
      + what git tracks + what this process has imported - what never travels

Links to files are read through. Links to folders are left out, wherever they lead, as git and the store's
manifests do; but a package that was imported from behind one stands in the link's place. Sockets, FIFOs,
devices and links that lead nowhere are passed over, as git does.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from .ignoring import Ignores, above, is_ignored, read, repository, tracked
from .temporary import is_temporary

_NEVER = frozenset(
    {
        *(".git", ".hg", ".svn", ".dvc", ".env", ".tox", ".nox", "__pycache__", "node_modules"),
        *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".ipynb_checkpoints"),
        *(".ssh", ".aws", ".gnupg", ".netrc", ".pypirc"),
    }
)
_SECRET_OR_WASTE = (".pyc", ".pem", ".p12", ".pfx")
_SSH_KEYS = ("id_rsa", "id_ed25519", "id_ecdsa", "id_dsa")
HYDRAS_FOLDERS = ("outputs", "multirun")  # with 2026-01-31/23-59-59 in them, unless Hydra is told otherwise
_DAY, _TIME = re.compile(r"\d{4}-\d\d-\d\d"), re.compile(r"\d\d-\d\d-\d\d")
_SMALL = 1024 * 1024  # bytes; of what lies beside a script in a home directory


@dataclass(frozen=True, slots=True)
class Limits:
    """What no walk takes: absolute real paths. ``never_whole`` are folders that are nobody's project.

    ``left_out`` are files and folders that travel otherwise, or not at all (deps, outs), ``closed`` folders
    that hold no code of the user's: installed packages, Hydra's outputs. ``in_use`` are folders that hold, at
    any depth, what this process imports from or works in: they travel also where jobs have run in them.
    """

    left_out: frozenset[str]
    closed: frozenset[str]
    never_whole: frozenset[str]
    in_use: frozenset[str]

    def forbid(self, path: str, name: str, folder: bool) -> bool:
        """Whether ``path``, of which ``name`` is the last part, never travels, whatever git says of it."""
        if name in _NEVER or path in self.left_out:
            return True
        if name.startswith(".env.") and name != ".env.example":
            return True
        return path in self.closed if folder else _is_secret_or_waste(name)


@dataclass(frozen=True, slots=True)
class Imported:
    """Where this process's modules came from, but for installed ones, as absolute paths.

    ``files`` are real paths; ``links`` those links to folders, in real folders, that packages were found at.
    """

    files: frozenset[str]
    links: frozenset[str]


class Walk:
    """Gathers the files of one root. ``files``: absolute path -> size in bytes; ``problems`` adds up.

    The paths are real ones, but for what is behind a link that a package was imported through.
    """

    def __init__(self, root: str, limits: Limits, problems: list[str]) -> None:
        self.files: dict[str, int] = {}
        self._root = root
        self._limits = limits
        self._problems = problems
        self._folders: set[str] = set()
        self._closed: dict[str, bool] = {root: False}

    def whole(self, imported: Imported, starts: Iterable[str]) -> None:
        """All code of the root. ``starts`` are folders in it that are code even where git ignores them."""
        top = repository(self._root, self._limits.never_whole)
        self._below(self._root, above(self._root, top) if top else ())
        for start in starts:
            if start not in self._folders and not self._is_left_out(start):
                self._below(start, above(start, top) if top else ())
        self._also(tracked(self._root) if top else ())
        self._also(imported.files)
        for link in self._inside(imported.links):
            self._follow(link, imported, ignored=self._is_ignored(link, top))

    def surface(self, imported: Imported, others: Collection[str]) -> None:
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
        self._also(path for path in imported.files if not path.startswith(within))
        for link in self._inside(imported.links):
            if not link.startswith(within):
                self._follow(link, imported, ignored=False)

    def imported_only(self, imported: Imported) -> None:
        """Of a root that git ignores: what the process has ``imported``."""
        self._also(imported.files)
        for link in self._inside(imported.links):
            self._follow(link, imported, ignored=True)

    def _below(self, start: str, ignores: Ignores) -> None:
        pending = [(start, ignores)]
        while pending:
            folder, ignores = pending.pop()
            entries = _scan(folder, self._problems)
            names = {entry.name for entry in entries}
            if folder != start and (_is_environment(names) or self._is_left_by_hydra(folder, names)):
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
        for path in self._inside(paths):
            if path in self.files:
                continue
            folder, name = os.path.split(path)
            if not self._limits.forbid(path, name, False) and not self._is_closed(folder):
                self._add(path, link=os.path.islink(path))

    def _follow(self, link: str, imported: Imported, *, ignored: bool) -> None:
        """What is behind the link, in its place: a worker imports it under the same name, too."""
        folder, name = os.path.split(link)
        target = os.path.realpath(link)
        if self._is_closed(folder) or self._limits.forbid(link, name, True) or self._is_left_out(target):
            return
        if target in self._limits.never_whole or target in self._limits.closed:
            return
        walk = Walk(target, self._limits, self._problems)
        # links may lead round, so each is followed once
        rest = Imported(imported.files, imported.links - {link})
        if ignored:
            walk.imported_only(rest)
        else:
            walk.whole(rest, ())
        self.files.update((link + path[len(target) :], size) for path, size in walk.files.items())

    def _inside(self, paths: Iterable[str]) -> list[str]:
        inside = os.path.join(self._root, "")
        return [path for path in paths if path.startswith(inside)]

    def _is_ignored(self, link: str, top: str | None) -> bool:
        """To git a link is no folder; here ``/name/`` counts too, for the folder is what would travel."""
        folder, name = os.path.split(link)
        return folder not in self._folders or is_ignored(above(link, top or self._root), link, name, True)

    def _is_left_by_hydra(self, folder: str, names: Collection[str]) -> bool:
        return folder not in self._limits.in_use and (
            _is_job(folder, names) or _is_sweep(folder, names) or _holds_runs(folder, names)
        )

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


def imported(installed: tuple[str, ...]) -> Imported:
    """What this process has imported, but for what lies in the folders ``installed`` (with a slash each)."""
    real = functools.cache(os.path.realpath)  # of folders: many modules share one
    files: set[str] = set()
    links: set[str] = set()
    for module, file in _modules():
        if file.startswith(installed):
            continue
        folder, name = os.path.split(os.path.abspath(file))
        path = os.path.join(real(folder), name)
        if not path.startswith(installed):
            files.add(path)
            package = module if name.startswith("__init__.") else module.rpartition(".")[0]
            links.update(_links(package, folder, real))
    return Imported(frozenset(files), frozenset(links))


def unreadable(path: str) -> str:
    """What to say of a path that the walk cannot look into."""
    return (
        f"{path}: cannot be read, and would travel with the project's code; "
        "add it to .gitignore if it is no code, or make it readable"
    )


def _modules() -> Iterator[tuple[str, str]]:
    for name, module in list(sys.modules.items()):
        try:
            # a lazy module would load itself if asked in the usual way
            file = object.__getattribute__(module, "__dict__").get("__file__")
        except AttributeError:
            continue
        if isinstance(file, str):
            yield name, file


def _links(package: str, folder: str, real: Callable[[str], str]) -> Iterator[str]:
    """The links on the way from an entry of sys.path to the ``folder`` in which it has the ``package``."""
    relpath = package.replace(".", "/")
    entry = folder.removesuffix(f"/{relpath}")
    if not package or entry == folder or real(folder) == os.path.join(real(entry), relpath):
        return
    at = real(entry)
    for part in relpath.split("/"):
        at = os.path.join(at, part)
        if os.path.islink(at):
            yield at
            at = os.path.realpath(at)


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


def _is_job(folder: str, names: Collection[str]) -> bool:
    return ".hydra" in names and os.path.isfile(os.path.join(folder, ".hydra", "hydra.yaml"))


def _is_sweep(folder: str, names: Collection[str]) -> bool:
    """Whether jobs stand beside multirun.yaml: a folder of configs may have a file of that name as well."""
    return "multirun.yaml" in names and (
        any(name.isdecimal() for name in names)
        or any(_is_job(os.path.join(folder, name), (".hydra",)) for name in names)
    )


def _holds_runs(folder: str, names: Collection[str]) -> bool:
    """Whether this is ``outputs`` or ``multirun``, with runs in it; with modules in it, it is a package."""
    if os.path.basename(folder) not in HYDRAS_FOLDERS or any(name.endswith(".py") for name in names):
        return False
    days = (os.path.join(folder, name) for name in names if _DAY.fullmatch(name))
    return any(_TIME.fullmatch(entry.name) for day in days for entry in _scan(day, []))


def _is_secret_or_waste(name: str) -> bool:
    if name.endswith(_SECRET_OR_WASTE) or is_temporary(name):
        return True
    return name.startswith(_SSH_KEYS) and not name.endswith(".py")
