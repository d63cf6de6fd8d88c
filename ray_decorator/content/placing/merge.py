"""Where the files of a directory go at home, so that they merge into what stands there.

A link that the destination itself is, is followed, as a local run would. Inside it, nothing leads out:

    at the file's place      what happens
    nothing, a file          the file appears, or replaces it (a hard link's other names keep their bytes)
    link to a file inside    written through
    link out, or to a file   the link itself is replaced (dvc links read-only files of its cache into a
      that is read-only        workspace: these must not change)
    a directory, a socket…   refused
    on the way to it         a directory, or a link to one inside; all else is refused

A link replaces a file or another link; where a directory is, it is refused. Links are made after all files.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...core.errors import InputError
from ...core.values.contents import NO_EXTRAS, Extras
from ..extras import check, close, make_link
from ..hashes.hash_cache import Stamp
from ..manifest import Row
from .clashes import clashes, refuse_where_same

_IN_THE_WAY = {errno.ENOTDIR, errno.ELOOP}


class Target(NamedTuple):
    """Where one file goes. ``stamp`` is of the file that stands there now, None where there is none."""

    row: Row
    path: str
    stamp: Stamp | None


class Plan(NamedTuple):
    """The directory (for a single file: its own) that all is below, those to make, and the targets.

    ``closed``: directory to make -> permission bits that it is not to have; ``links``: path -> where it leads.
    ``names`` are all there are below the root, which some file systems may take for one another.
    """

    root: str
    folders: tuple[str, ...]
    targets: tuple[Target, ...]
    closed: Mapping[str, int] = {}
    links: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()

    def make_folders(self) -> None:
        """Make the directories that are not there. Raises InputError where files would take each other's places."""
        if clashing := clashes(self.names):
            os.makedirs(self.root, exist_ok=True)
            refuse_where_same(self.root, clashing)
        for folder in self.folders:
            os.makedirs(folder, exist_ok=True)
            if bits := self.closed.get(folder):
                close(folder, bits)

    def make_links(self) -> None:
        """Make the links, which is the last thing to do. Raises OSError."""
        for path, target in self.links:
            make_link(path, target)


def plan(destination: Path, rows: Sequence[Row], extras: Extras = NO_EXTRAS) -> Plan:
    """Decide where each row goes, and the extras. Changes nothing; raises InputError naming all that is in the way.

    Raises CorruptObjectError for extras that lead out of the destination, OSError where it cannot be looked at.
    """
    if len(rows) == 1 and not rows[0].relpath:
        return _plan_file(destination, rows[0])
    check(extras, (row.relpath for row in rows))
    return _Tree(destination).plan(rows, extras)


def _plan_file(destination: Path, row: Row) -> Plan:
    path = os.path.realpath(destination)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return Plan(os.path.dirname(path), (os.path.dirname(path),), (Target(row, path, None),))
    except OSError as exc:
        raise _no_place(exc, f"{destination}: a file cannot be written there ({exc.strerror})") from exc
    if not stat.S_ISREG(status.st_mode):
        raise InputError(_in_the_way(str(destination), f"is {_a(status.st_mode)}"))
    if os.path.islink(destination) and not status.st_mode & stat.S_IWUSR:
        path = os.path.abspath(destination)
    return Plan(os.path.dirname(path), (), (Target(row, path, Stamp.of(status)),))


class _Tree:
    def __init__(self, destination: Path) -> None:
        self._root = os.path.realpath(destination)
        self._named = destination
        self._problems: list[str] = []
        self._folders: dict[str, tuple[str, bool]] = {}  # relpath -> (real path, exists)
        self._new: list[str] = []

    def plan(self, rows: Sequence[Row], extras: Extras) -> Plan:
        self._see_root()
        linked = {link for link, _ in extras.links}
        found = (self._target(row) for row in rows if row.relpath not in linked)
        targets = [target for target in found if target is not None]
        for folder in extras.folders:
            self._folder(folder)
        links = [
            (path, target) for link, target in extras.links if (path := self._link(link, target)) is not None
        ]
        if self._problems:
            raise InputError(tuple(sorted(self._problems)))
        closed = {
            place[0]: bits
            for path, bits in extras.private
            if path.endswith("/") and (place := self._folders.get(path[:-1])) is not None and not place[1]
        }
        names = (*(row.relpath for row in rows), *extras.folders, *linked)
        return Plan(self._root, tuple(self._new), tuple(targets), closed, tuple(links), names)

    def _link(self, relpath: str, target: str) -> str | None:
        folder, _, name = relpath.rpartition("/")
        parent = self._folder(folder)
        if parent is None:
            return None
        path, at = f"{parent[0]}/{name}", parent[0]
        for _ in range(target.split("/").count("..")):
            if at == self._root:  # a link at home has brought it up there
                self._problems.append(
                    f"{path}: a link to {target} would lead out of {self._root}; move it away"
                )
                return None
            at = os.path.dirname(at)
        if os.path.lexists(path) and not (os.path.islink(path) or os.path.isfile(path)):
            self._problems.append(_in_the_way(path, f"is {_a(os.lstat(path).st_mode)}", "a link"))
            return None
        return path

    def _see_root(self) -> None:
        try:
            mode = os.stat(self._root).st_mode
        except FileNotFoundError:
            self._folders[""] = (self._root, False)
            self._new.append(self._root)
            return
        except OSError as exc:
            problem = f"{self._named}: a directory cannot be written there ({exc.strerror})"
            raise _no_place(exc, problem) from exc
        if not stat.S_ISDIR(mode):
            raise InputError(
                f"{self._named}: is {_a(mode)}, and a directory is to be written there; move it away"
            )
        self._folders[""] = (self._root, True)

    def _target(self, row: Row) -> Target | None:
        folder, _, name = row.relpath.rpartition("/")
        parent = self._folder(folder)
        if parent is None:
            return None
        path = f"{parent[0]}/{name}"
        if not parent[1]:
            return Target(row, path, None)
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return Target(row, path, None)
        if stat.S_ISLNK(status.st_mode):
            return self._through_link(row, path)
        if not stat.S_ISREG(status.st_mode):
            self._problems.append(_in_the_way(path, f"is {_a(status.st_mode)}"))
            return None
        return Target(row, path, Stamp.of(status))

    def _through_link(self, row: Row, path: str) -> Target | None:
        real = os.path.realpath(path)
        try:
            status = os.stat(real)
        except OSError:
            return Target(row, path, None)
        if stat.S_ISDIR(status.st_mode):
            self._problems.append(_in_the_way(path, "links to a directory"))
            return None
        if self._inside(real) and stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IWUSR:
            return Target(row, real, Stamp.of(status))
        # read through, so that what is already right stays a link
        return Target(row, path, Stamp.of(status) if stat.S_ISREG(status.st_mode) else None)

    def _folder(self, relpath: str) -> tuple[str, bool] | None:
        """A directory's real path, and whether it exists; None where something is in the way."""
        if relpath in self._folders:
            return self._folders[relpath]
        parent, _, name = relpath.rpartition("/")
        above = self._folder(parent)
        if above is None:
            return None
        found = self._look(f"{above[0]}/{name}", above[1])
        if found is not None:
            self._folders[relpath] = found
            if not found[1]:
                self._new.append(found[0])
        return found

    def _look(self, path: str, may_exist: bool) -> tuple[str, bool] | None:
        if not may_exist or not os.path.lexists(path):
            return path, False
        real = os.path.realpath(path)
        if not os.path.isdir(real):
            problem = f"{path}: is a file, and a directory is to be written there; move it away"
        elif not self._inside(real):
            problem = (
                f"{path}: links to {real}, out of {self._root}, and files are to be written below it; "
                "make it a directory, or name the link's own path as an out"
            )
        else:
            return real, True
        if problem not in self._problems:
            self._problems.append(problem)
        return None

    def _inside(self, real: str) -> bool:
        return real.startswith(self._root.rstrip("/") + "/")


def _no_place(error: OSError, problem: str) -> Exception:
    """Something is in the way of the place; or nothing is known of it, as where a disk is gone."""
    return InputError(problem) if error.errno in _IN_THE_WAY else error


def _in_the_way(path: str, found: str, coming: str = "a file") -> str:
    return f"{path}: {found}, and {coming} is to be written there; move it away"


def _a(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a file" if stat.S_ISREG(mode) else "a socket, FIFO or device"
