"""The files of a project that are its code, and not data, secrets, environments or what tools leave behind.

    what git would not ignore (git.py, or gitignore.py without git) - what Hydra's jobs have left
      + what this process has imported - what stays at home + what git tracks - what never travels

Links to files are read through. Links to folders are left out, wherever they lead, as git and the store's
manifests do; but a package that was imported from behind one travels under the link's name. Sockets, FIFOs,
devices and links that lead nowhere are passed over, as git does.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator

from ...content.looking.gitignore import IgnoreFiles, above
from ..imports import Imported
from ..roots import is_in
from .git import Listing, listing, repository
from .hydra_outputs import HYDRAS_FOLDERS, holds_runs, is_job, is_sweep
from .include import Include
from .limits import Limits
from .secrets import is_secret, lies_in_secret

_SMALL = 1024 * 1024  # bytes; of a file beside a script in a home directory


class Walk:
    """Gathers the files of one root. ``files``: absolute path -> size in bytes; ``problems`` adds up.

    ``secrets`` are those that would be there but for their names, ``earlier`` files and folders that would but for
    earlier runs, ``staying`` those that would but for `Limits.stays`, ``missed`` what was imported and stays. Paths
    are real ones, but for what is behind a link that a package was imported through.
    """

    def __init__(self, root: str, limits: Limits, problems: list[str]) -> None:
        self.files: dict[str, int] = {}
        self.secrets: set[str] = set()
        self.earlier: set[str] = set()
        self.staying: set[str] = set()
        self.missed: set[str] = set()
        self._root = root
        self._limits = limits
        self._problems = problems
        self._folders: set[str] = set()
        self._listings: list[Listing] = []
        self._closed: dict[str, bool] = {root: False}

    def whole(self, imported: Imported, starts: Iterable[str]) -> None:
        """All code of the root. ``starts`` are folders in it that are code even where git ignores them."""
        for start in [self._root, *starts]:
            if start not in self._folders and not self._is_left_out(start):
                rules = self._rules(start)
                if self._limits.stays(start, True):
                    self.staying.add(start)
                else:
                    self._below(start, rules)
        for each in self._listings:
            self.also(each.tracked, tracked=True)
        self.also(imported.files)
        for link in self._inside(imported.links):
            self._follow(link, imported, ignored=self._is_ignored(link))

    def surface(self, imported: Imported, others: Collection[str]) -> None:
        """The modules, packages and small files directly in the root, but for the folders ``others``."""
        for entry in _scan(self._root, []):
            if entry.path in others or self._limits.forbid(entry.path, entry.name, entry.is_dir()):
                continue
            if is_secret(entry.path, entry.is_dir()) or self._limits.stays(entry.path, entry.is_dir()):
                continue  # a home directory is full of secrets
            if entry.is_dir(follow_symlinks=False):
                if os.path.isfile(os.path.join(entry.path, "__init__.py")):
                    self._below(entry.path, IgnoreFiles())
            elif entry.name.endswith(".py") and os.access(entry.path, os.R_OK):
                self._add(entry.path)
            elif not entry.name.startswith(".") and os.access(entry.path, os.R_OK):
                self._add(entry.path, most=_SMALL)
        within = tuple(os.path.join(folder, "") for folder in others)
        self.also(path for path in imported.files if not path.startswith(within))
        for link in self._inside(imported.links):
            if not link.startswith(within):
                self._follow(link, imported, ignored=False)

    def included(self, include: Include, *, deep: bool) -> None:
        """What the user names as code."""
        for path in include.find(self._root, self._is_no_code, deep=deep):
            if not self._limits.forbid(path, os.path.basename(path), False) and not self._is_left_out(path):
                self._add(path, link=os.path.islink(path), wanted=True)
                for kept in (self.secrets, self.earlier, self.staying, self.missed):
                    kept.discard(path)

    def _is_no_code(self, folder: str) -> bool:
        """Whether nobody's code can be in the folder; what Hydra's jobs have left may be."""
        name = os.path.basename(folder)
        if name not in HYDRAS_FOLDERS and self._limits.forbid(folder, name, True):
            return True
        return _is_environment(entry.name for entry in _scan(folder, []))

    def imported_only(self, imported: Imported) -> None:
        """Of a root that git ignores: what the process has ``imported``."""
        self.also(imported.files)
        for link in self._inside(imported.links):
            self._follow(link, imported, ignored=True)

    def _rules(self, start: str) -> Listing | IgnoreFiles:
        top = repository(start, self._limits.never_whole)
        listed = listing(start, top, self._limits.closed) if top else None
        if listed is None:
            return above(start, top)
        self._listings.append(listed)
        return listed

    def _below(self, start: str, rules: Listing | IgnoreFiles) -> None:
        pending = [(start, rules)]
        while pending:
            folder, rules = pending.pop()
            entries = _scan(folder, self._problems)
            names = {entry.name for entry in entries}
            if folder != start and (_is_environment(names) or self._is_left_by_hydra(folder, names)):
                continue
            self._folders.add(folder)
            if ".gitignore" in names:
                rules = rules.within(folder)
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                if self._limits.forbid(entry.path, entry.name, is_folder):
                    continue
                if rules.ignores(entry.path, is_folder):
                    continue
                if not rules.tracks(entry.path) and self._limits.stays(entry.path, is_folder):
                    self.staying.add(entry.path)  # what git tracks of a folder comes later
                elif self._limits.is_earlier(entry.path) and not rules.tracks(entry.path):
                    self.earlier.add(entry.path)
                elif is_secret(entry.path, is_folder) and not rules.tracks(entry.path):
                    self._keep_back(entry.path, is_folder, rules)
                elif is_folder:
                    pending.append((entry.path, rules))
                else:
                    self._add(entry.path, link=entry.is_symlink())

    def also(self, paths: Iterable[str], *, tracked: bool = False) -> None:
        """Those of these files that are neither secrets nor stay at home; where they are ``tracked``, all."""
        for path in self._inside(paths):
            if path in self.files:
                continue
            folder, name = os.path.split(path)
            if self._limits.forbid(path, name, False) or self._is_closed(folder):
                continue
            if not tracked and self._limits.stays(path, False):
                self.missed.add(path)
            elif not tracked and lies_in_secret(path, self._root):
                self.secrets.add(path)
            else:
                self._add(path, link=os.path.islink(path))

    def _keep_back(self, path: str, is_folder: bool, rules: Listing | IgnoreFiles) -> None:
        if not is_folder:
            self.secrets.add(path)
            return
        for folder, inner, names in os.walk(path):
            if _is_environment([*inner, *names]):
                inner.clear()
                continue
            files = (os.path.join(folder, name) for name in names)
            self.secrets.update(
                each for each in files if not rules.tracks(each) and not rules.ignores(each, False)
            )

    def _follow(self, link: str, imported: Imported, *, ignored: bool) -> None:
        """What is behind the link, under its name: a worker imports it by that name, too."""
        folder, name = os.path.split(link)
        target = os.path.realpath(link)
        if self._is_closed(folder) or self._limits.forbid(link, name, True) or self._is_left_out(target):
            return
        if target in self._limits.never_whole or target in self._limits.closed:
            return
        if self._limits.stays(link, True) and not self._tracks(link):
            return
        walk = Walk(target, self._limits, self._problems)
        # links may lead round, so each is followed once
        rest = Imported(imported.files, imported.links - {link})
        if ignored:
            walk.imported_only(rest)
        else:
            walk.whole(rest, ())
        self.files.update((link + path[len(target) :], size) for path, size in walk.files.items())
        self.secrets.update(link + path[len(target) :] for path in walk.secrets)
        self.staying |= walk.staying
        self.missed |= walk.missed

    def _inside(self, paths: Iterable[str]) -> list[str]:
        inside = os.path.join(self._root, "")
        return [path for path in paths if path.startswith(inside)]

    def _is_ignored(self, link: str) -> bool:
        """To git a link is no folder; here ``/name/`` counts too, for the folder is what would travel."""
        folder = os.path.dirname(link)
        if folder not in self._folders or (
            self._listings and all(each.ignores(link, False) for each in self._listings)
        ):
            return True
        top = repository(folder, self._limits.never_whole) or self._root
        return above(folder, top).within(folder).ignores(link, True)

    def _is_left_by_hydra(self, folder: str, names: Collection[str]) -> bool:
        return folder not in self._limits.in_use and (
            is_job(folder, names) or is_sweep(folder, names) or holds_runs(folder, names)
        )

    def _add(self, path: str, *, link: bool = True, most: int | None = None, wanted: bool = False) -> None:
        try:
            status = os.stat(path)
        except OSError:
            return
        if not stat.S_ISREG(status.st_mode) or (most is not None and status.st_size >= most):
            return
        if link and (target := os.path.realpath(path)) != path:
            if self._is_left_out(target):
                return
            if not wanted and self._is_earlier(target):
                return self.earlier.add(path)
            if not wanted and not self._tracks(target):
                if self._limits.stays(target, False):
                    return self.staying.add(path)
                if lies_in_secret(target, self._root if is_in(target, self._root) else "/"):
                    return self.secrets.add(path)
        if os.access(path, os.R_OK):
            self.files[path] = status.st_size
        else:
            self._problems.append(unreadable(path))

    def _tracks(self, path: str) -> bool:
        return any(each.tracks(path) for each in self._listings)

    def _is_left_out(self, path: str) -> bool:
        return any(at in self._limits.left_out for at in self._and_above(path))

    def _is_earlier(self, path: str) -> bool:
        return any(map(self._limits.is_earlier, self._and_above(path)))

    def _and_above(self, path: str) -> Iterator[str]:
        while path not in (self._root, parent := os.path.dirname(path)):
            yield path
            path = parent

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


def _is_environment(names: Iterable[str]) -> bool:
    return any(name in ("pyvenv.cfg", "conda-meta") for name in names)
