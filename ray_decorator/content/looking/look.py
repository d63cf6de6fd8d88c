"""What is at and below a path: files, and what a manifest of DVC's cannot say of them (`core.model.Extras`).

As dvc does: links to files are read through, links to directories are not followed, and ``.git``, ``.hg``, ``.dvc``
and what a `Selection` leaves out do not count. Unlike dvc, empty directories count, and a link that leads inside the
tree, to something that counts, is one. A path that is itself a link is followed.
"""

from __future__ import annotations

import contextlib
import functools
import marshal
import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from ...core.errors import InputError, Missing
from ...core.values.contents import Extras
from .. import manifest
from ..extras import closed_bits, inward
from ..hashes.hash_cache import Stamp
from ..hashes.hashing import cannot_be_read
from ..temporary import is_temporary
from .selection import Selection

_SKIPPED = {".git", ".hg", ".dvc"}


@dataclass(frozen=True, slots=True)
class Found:
    """Files: (relative path, absolute path) of each in order; their stamps by absolute path; and the extras.

    ``read_only`` are absolute paths of files that nobody may write to.
    """

    files: list[tuple[str, str]] = field(default_factory=list)
    stamps: dict[str, Stamp] = field(default_factory=dict)
    read_only: set[str] = field(default_factory=set)
    executables: set[str] = field(default_factory=set)
    private: dict[str, int] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)

    def add(self, relpath: str, path: str, status: os.stat_result) -> None:
        mode = status.st_mode
        self.files.append((relpath, path))
        self.stamps[path] = Stamp.of(status)
        if not mode & 0o222:
            self.read_only.add(path)
        if mode & 0o111:
            self.executables.add(relpath)
        if mode & 0o044 != 0o044:
            self.private[relpath] = closed_bits(mode)

    @property
    def devices(self) -> dict[int, str]:
        """The devices that the files are on, each with one of them."""
        return {stamp.device: path for path, stamp in self.stamps.items()}

    @property
    def extras(self) -> Extras:
        return Extras(
            tuple(sorted(self.private.items())),
            tuple(sorted(self.folders)),
            tuple(sorted(self.links.items())),
        )

    def fingerprint(self) -> str:
        """A digest of all that must stay for the content to be the same. Where the directory is does not count."""
        state = manifest.md5("\0".join(name for name, _ in self.files).encode(errors="surrogateescape"))
        state.update(marshal.dumps(list(chain.from_iterable(self.stamps.values())), 2))  # the fastest
        state.update("\0".join(sorted(self.executables)).encode(errors="surrogateescape"))
        state.update(repr(self.extras).encode())
        return state.hexdigest()


@dataclass(frozen=True, slots=True)
class Look:
    """What was found, and what was not taken.

    ``outward`` are relative paths of links to files that are none of the tree's; these count in their place.
    ``not_followed``: relative path of a link to a directory -> what is written in it. ``skipped`` are paths of
    version control's own, and ``bad``: path -> why it cannot be taken.
    """

    root: str
    found: Found = field(default_factory=Found)
    outward: list[str] = field(default_factory=list)
    not_followed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)

    @property
    def led_out(self) -> dict[str, str]:
        """Those of the links to files that lead out of the tree, with what is written in them."""
        ends, inside, found = _Ends(self.root), os.path.join(self.root, ""), dict[str, str]()
        for link in self.outward:
            with contextlib.suppress(OSError):  # it is gone meanwhile
                leads_to, real = ends.of(link)
                if not (real.startswith(inside) and os.path.realpath(real).startswith(inside)):
                    found[link] = leads_to
        return found


def look(root: str, named: Path, selection: Selection | None = None) -> Look:
    """Look at the real path ``root``, which the user calls ``named``; no file is opened.

    Raises InputError where there is nothing, or neither a file nor a directory.
    """
    try:
        status = os.stat(root)
    except FileNotFoundError as exc:
        raise InputError.of([Missing(f"{named}: {_missing(root, named)}", str(named))]) from exc
    except OSError as exc:
        raise InputError(f"{named}: {cannot_be_read(exc)}") from exc
    seen = Look(root)
    if stat.S_ISREG(status.st_mode):
        seen.found.add("", root, status)
        return seen
    if not stat.S_ISDIR(status.st_mode):
        raise InputError(f"{named}: {_is_no_file(status)}")
    _Walk(root, seen).walk(status, selection)
    return seen


class _Walk:
    def __init__(self, root: str, seen: Look) -> None:
        self._root, self._seen = root, seen
        self._pending: list[tuple[str, Selection | None]] = []
        self._folders: set[str] = {""}
        # relative path -> device and inode of the file that the link leads to; None where it is a directory
        self._links: dict[str, tuple[int, int] | None] = {}

    def walk(self, status: os.stat_result, selection: Selection | None) -> None:
        self._close("/", status)
        self._pending.append(("", selection))
        while self._pending:
            folder, selection = self._pending.pop()
            try:
                with os.scandir(os.path.join(self._root, folder)) as entries:
                    # a list: what is not counted does not make a directory full
                    taken = [self._see(entry, folder, selection) for entry in entries]
            except OSError as exc:
                self._seen.bad[os.path.join(self._root, folder).rstrip("/")] = cannot_be_read(exc)
            else:
                if folder and not any(taken):
                    self._seen.found.folders.add(folder[:-1])
        if self._links:
            self._settle_links()

    def _see(self, entry: os.DirEntry[str], folder: str, selection: Selection | None) -> bool:
        """Take the entry; whether it counts."""
        name, is_link = entry.name, entry.is_symlink()
        try:
            is_folder = entry.is_dir()
        except OSError:  # a link that leads in circles
            is_folder = False
        if selection is not None and selection.leaves_out(name, is_folder):
            return False
        try:
            status = entry.stat()
        except OSError as exc:
            why = "a symlink that leads nowhere" if is_link else cannot_be_read(exc)
            gone = isinstance(exc, FileNotFoundError)
            self._seen.bad[entry.path] = Missing(why, entry.path) if gone else why
            return False
        if stat.S_ISDIR(status.st_mode):
            return self._see_folder(name, is_link, status, folder, selection)
        if name[0] == "." and (name == ".git" or is_temporary(name)):
            if name == ".git":
                self._seen.skipped.append(folder + name)
            return False
        if not stat.S_ISREG(status.st_mode):
            self._seen.bad[entry.path] = _is_no_file(status)
            return False
        if is_link:
            self._links[folder + name] = status.st_dev, status.st_ino
        self._seen.found.add(folder + name, entry.path, status)
        return True

    def _see_folder(
        self, name: str, is_link: bool, status: os.stat_result, above: str, selection: Selection | None
    ) -> bool:
        if name in _SKIPPED:
            self._seen.skipped.append(above + name)
            return False
        if is_link:
            self._links[above + name] = None
            return False  # as long as it is not known to lead inside
        self._folders.add(above + name)
        self._close(f"{above}{name}/", status)
        self._pending.append((f"{above}{name}/", selection.within(name) if selection else None))
        return True

    def _close(self, key: str, status: os.stat_result) -> None:
        if bits := closed_bits(status.st_mode):
            self._seen.found.private[key] = bits

    def _settle_links(self) -> None:
        """Part the links into those that lead to what counts, and others: known when all has been seen."""
        found, links, inside = self._seen.found, self._links, os.path.join(self._root, "")
        here = {found.stamps[path][:2] for relpath, path in found.files if relpath not in links}
        counts = self._folders.union(relpath for relpath, _ in found.files)
        ends = _Ends(self._root)
        for link, file in links.items():
            if file is not None and file not in here:  # by however many links
                self._seen.outward.append(link)
                continue
            leads_to, real = ends.of(link)
            if file is None or os.path.islink(real):
                real = os.path.realpath(real)
            if (real == self._root or real.startswith(inside)) and real[len(inside) :] in counts:
                found.links[link] = self._target(link, leads_to, real, counts)
                found.folders.discard(os.path.dirname(link))
            elif file is None:
                self._seen.not_followed[link] = leads_to
            else:
                self._seen.outward.append(link)

    def _target(self, link: str, leads_to: str, real: str, counts: Collection[str]) -> str:
        """As it is written, where that is relative and all on the way there is known; else straight to ``real``."""
        target = inward(self._root, link, leads_to)
        if target is not None:
            place = os.path.normpath(os.path.join(os.path.dirname(link), target))
            known = place == "." or place in counts or place in self._links
            if known and os.path.realpath(os.path.join(self._root, place)) == real:
                return target
        return os.path.relpath(real, os.path.join(self._root, os.path.dirname(link)))


class _Ends:
    """Where the links of a tree lead; each folder is resolved once."""

    def __init__(self, root: str) -> None:
        self._inside = os.path.join(root, "")
        self._real_folder = functools.cache(os.path.realpath)

    def of(self, link: str) -> tuple[str, str]:
        """What is written in the link at this relative path, and where that leads by links of folders.

        Raises OSError.
        """
        leads_to = os.readlink(self._inside + link)
        to = leads_to if leads_to.startswith("/") else f"{self._inside}{os.path.dirname(link)}/{leads_to}"
        folder, _, name = to.rpartition("/")
        return leads_to, f"{self._real_folder(folder or '/')}/{name}"


def _missing(root: str, named: Path) -> str:
    if named.is_symlink():
        return f"is a symlink to {root}, which does not exist; correct the link, or fetch what it leads to"
    return "there is no such file or directory"


def _is_no_file(status: os.stat_result) -> str:
    kinds: Mapping[int, str] = {
        stat.S_IFSOCK: "socket",
        stat.S_IFIFO: "FIFO",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
    }
    return f"is a {kinds.get(stat.S_IFMT(status.st_mode), 'special file')}, not a file or directory"
