"""What a local path holds, by content: its files, each with its md5, at one moment.

As dvc does: links to files are read through, links to directories inside a tree are left out, and so are
``.git``, ``.hg``, ``.dvc``, empty directories and what a `Selection` leaves out. A path that is itself a link is
followed. Unlike dvc, what is left out for being a link is told.
"""

from __future__ import annotations

import functools
import logging
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from ..core.errors import InputError, Missing, reworded
from ..core.model import Content
from ..core.progress import Progress
from . import manifest
from .hash_cache import HashCache, Stamp
from .hashing import Md5s, cannot_be_read, changed, hash_files
from .selection import Selection
from .temporary import is_temporary

log = logging.getLogger(__name__)

_SKIPPED = {".git", ".hg", ".dvc"}
_MANY = 1000  # files; of fewer, the md5s are found as fast one by one
_MOST_LINKS = 3
_MOST_LEFT_OUT = 5

_spoken_of: set[str] = set()
"""Directories whose links were warned of in this process, which may take them again for each call."""


class Entry(NamedTuple):
    """A file as it was when hashed: ``relpath`` is ``""`` where the snapshot is of a single file.

    ``stamp``: while the file has it, its bytes are certain to have this md5. None where only the bytes tell.
    """

    relpath: str
    path: str
    size: int
    md5: str
    stamp: Stamp | None


@dataclass(frozen=True, slots=True)
class _Found:
    """Files: (relative path, absolute path) of each in order; their stamps by absolute path."""

    files: list[tuple[str, str]] = field(default_factory=list)
    stamps: dict[str, Stamp] = field(default_factory=dict)
    executables: set[str] = field(default_factory=set)

    def add(self, relpath: str, path: str, status: os.stat_result) -> None:
        self.files.append((relpath, path))
        self.stamps[path] = Stamp.of(status)
        if status.st_mode & 0o111:
            self.executables.add(relpath)

    def fingerprint(self) -> str:
        """A digest of all that must stay for the content to be the same."""
        state = manifest.md5("\0".join(self.stamps).encode(errors="surrogateescape"))
        state.update(",".join(map(str, chain.from_iterable(self.stamps.values()))).encode())
        state.update("\0".join(sorted(self.executables)).encode(errors="surrogateescape"))
        return state.hexdigest()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a path held, by content. Most are of what a store has already, and nobody asks for more."""

    path: str
    content: Content
    _found: _Found
    _md5s: Callable[[], Md5s]

    @property
    def manifest(self) -> bytes | None:
        """A directory's manifest, as the store keeps it; None for a single file."""
        if not self.content.is_tree:
            return None
        digest, data = manifest.dump(_rows(self._found, self._md5s()))
        if digest != self.content.digest:  # only where the hash cache is spoilt
            raise InputError(changed(self.path))
        return data

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The files, in no order."""
        stamps, (md5s, settled) = self._found.stamps, self._md5s()
        return tuple(
            Entry(relpath, path, stamps[path].size, md5s[path], stamps[path] if path in settled else None)
            for relpath, path in self._found.files
            if path in md5s
        )


def snapshot(
    path: Path,
    hashes: HashCache,
    progress: Progress,
    *,
    lenient: bool = False,
    selection: Selection | None = None,
) -> Snapshot:
    """Hash a file or a whole directory, but for what ``hashes`` has unchanged.

    ``selection`` says what of a directory counts; None: all of it. What it leaves out is not looked at.
    Raises InputError naming every entry that cannot be read or is neither file nor directory. With
    ``lenient`` such entries of a directory are left out, with a warning: for what a job has written, and
    cannot be asked to write again. Either way an entry that changes meanwhile is an error.
    """
    root = os.path.realpath(path)
    taken = time.time_ns()
    seen = _look(root, path, selection)
    if seen.bad and not lenient:
        raise _error(seen.bad)
    stamps, unreadable = seen.found.stamps, seen.bad if lenient else None

    @functools.cache
    def md5s() -> Md5s:
        return hash_files(stamps, root, taken, hashes, progress, prune=True, unreadable=unreadable)

    fingerprint = seen.found.fingerprint() if len(stamps) >= _MANY and not lenient else None
    if fingerprint and (content := hashes.tree(root, fingerprint)):
        _warn(path, root, seen, lenient)
        return Snapshot(root, content, seen.found, md5s)
    md5s()
    if root in seen.bad:
        raise _error(seen.bad)
    _warn(path, root, seen, lenient)
    made = _taken(root, seen.found, md5s())
    if fingerprint and not any(stamp.is_fresh(taken) for stamp in stamps.values()):
        hashes.record_tree(root, fingerprint, made.content)
    return made


def files_of(path: Path) -> list[tuple[str, str]]:
    """The files that a lenient `snapshot` takes, each as its relative path and an absolute one; none is read."""
    root = os.path.realpath(path)
    seen = _look(root, path)
    _warn(path, root, seen, lenient=True)
    return seen.found.files


def snapshot_of(files: Sequence[tuple[str, str]], hashes: HashCache, progress: Progress) -> Snapshot:
    """A directory of chosen files, each (path in it, with ``/``; absolute path). Always a tree, if empty too.

    Each path in it is given once. Raises InputError naming every file that is gone, cannot be read, is no
    file, or changes while it is read.
    """
    taken = time.time_ns()
    problems: list[str] = []
    found = _Found()
    for relpath, path in files:
        _choose(relpath, path, found, problems)
    if problems:
        raise InputError(tuple(sorted(problems)))
    parts: dict[str, dict[str, Stamp]] = {}
    for relpath, path in found.files:
        # one look into the cache for each of the few folders that the files come from
        parts.setdefault(relpath.partition("/")[0], {})[path] = found.stamps[path]
    md5s = Md5s({}, frozenset())
    for part in parts.values():
        root = os.path.commonpath([os.path.dirname(path) for path in part])
        more = hash_files(part, root, taken, hashes, progress)
        md5s = Md5s(md5s.by_path | more.by_path, md5s.settled | more.settled)
    return _taken(os.path.commonpath(found.stamps) if found.stamps else "", found, md5s)


def _taken(root: str, found: _Found, md5s: Md5s) -> Snapshot:
    """The snapshot of those files whose md5s are known."""
    rows = _rows(found, md5s)
    size = sum(found.stamps[path].size for _, path in found.files if path in md5s.by_path)
    executables = found.executables and found.executables.intersection(relpath for relpath, _ in rows)
    is_file = len(rows) == 1 and not rows[0][0]
    digest = rows[0][1] if is_file else manifest.dump(rows)[0]
    content = Content(digest, size, len(rows), tuple(sorted(executables)))
    return Snapshot(root, content, found, lambda: md5s)


def _rows(found: _Found, md5s: Md5s) -> list[tuple[str, str]]:
    known = md5s.by_path
    return [(relpath, known[path]) for relpath, path in found.files if path in known]


def _choose(relpath: str, path: str, found: _Found, problems: list[str]) -> None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        problems.append(changed(path))
        return
    except OSError as exc:
        problems.append(f"{path}: {cannot_be_read(exc)}")
        return
    if stat.S_ISREG(status.st_mode):
        found.add(relpath, path, status)
    else:
        problems.append(changed(path))


@dataclass(frozen=True, slots=True)
class _Look:
    """What is at and below a path.

    ``links``: relative path of one to a directory -> where it leads; ``bad``: path -> why it cannot be taken.
    """

    found: _Found
    links: dict[str, str]
    bad: dict[str, str]


def _look(root: str, named: Path, selection: Selection | None = None) -> _Look:
    try:
        status = os.stat(root)
    except FileNotFoundError as exc:
        raise InputError.of([Missing(f"{named}: {_missing(root, named)}", str(named))]) from exc
    except OSError as exc:
        raise InputError(f"{named}: {cannot_be_read(exc)}") from exc
    if stat.S_ISREG(status.st_mode):
        found = _Found()
        found.add("", root, status)
        return _Look(found, {}, {})
    if not stat.S_ISDIR(status.st_mode):
        raise InputError(f"{named}: {_is_no_file(status)}")
    return _walked(root, selection)


def _walked(root: str, selection: Selection | None) -> _Look:
    seen = _Look(_Found(), {}, {})
    pending = [("", selection)]
    while pending:
        folder, selection = pending.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    if selection is None or not _is_left_out(entry, selection):
                        _see(entry, folder, selection, pending, seen)
        except OSError as exc:
            seen.bad[os.path.join(root, folder).rstrip("/")] = cannot_be_read(exc)
    return seen


def _is_left_out(entry: os.DirEntry[str], selection: Selection) -> bool:
    try:
        return selection.leaves_out(entry.name, entry.is_dir())
    except OSError:  # a link that leads in circles
        return selection.leaves_out(entry.name, False)


def _see(
    entry: os.DirEntry[str],
    folder: str,
    selection: Selection | None,
    pending: list[tuple[str, Selection | None]],
    seen: _Look,
) -> None:
    name = entry.name
    try:
        status = entry.stat()
        if stat.S_ISREG(status.st_mode):
            if name[0] != "." or not (name == ".git" or is_temporary(name)):
                seen.found.add(folder + name, entry.path, status)
            return
        is_folder = stat.S_ISDIR(status.st_mode)
        leads_to = os.readlink(entry.path) if is_folder and entry.is_symlink() else None
    except OSError as exc:
        why = "a symlink that leads nowhere" if entry.is_symlink() else cannot_be_read(exc)
        seen.bad[entry.path] = Missing(why, entry.path) if isinstance(exc, FileNotFoundError) else why
        return
    if name in _SKIPPED if is_folder else name == ".git" or is_temporary(name):
        return
    if leads_to is not None:
        seen.links[folder + name] = leads_to
    elif is_folder:
        pending.append((f"{folder}{name}/", selection.within(name) if selection else None))
    else:
        seen.bad[entry.path] = _is_no_file(status)


def _missing(root: str, named: Path) -> str:
    if named.is_symlink():
        return f"is a symlink to {root}, which does not exist; correct the link, or fetch what it leads to"
    return "there is no such file or directory"


def _is_no_file(status: os.stat_result) -> str:
    kinds = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "FIFO", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    return f"is a {kinds.get(stat.S_IFMT(status.st_mode), 'special file')}, not a file or directory"


def _error(bad: Mapping[str, str]) -> InputError:
    return InputError.of(sorted(reworded(why, f"{path}: {why}") for path, why in bad.items()))


def _warn(named: Path, root: str, seen: _Look, lenient: bool) -> None:
    """Say what the snapshot of a directory goes without.

    What a job has written holds links such as ``latest``, and what they lead to travels in its own place.
    """
    inside = os.path.join(root, "")
    links = [
        f"{link} -> {leads_to}"
        for link, leads_to in sorted(seen.links.items())
        if not lenient or not os.path.realpath(inside + link).startswith(inside)
    ]
    if seen.bad:
        left_out = [f"{os.path.relpath(path, root)}: {why}" for path, why in sorted(seen.bad.items())]
        log.warning(
            "%s: left out, since only files and directories that can be read are taken: %s",
            named,
            _some(left_out, _MOST_LEFT_OUT),
        )
    if links and root not in _spoken_of:
        _spoken_of.add(root)
        log.warning(
            "%s: links to directories are not followed, and so left out (%s). Name each path that is needed "
            "in deps or outs itself, or put a copy in the link's place",
            named,
            _some(links, _MOST_LINKS),
        )


def _some(texts: Sequence[str], most: int) -> str:
    return "; ".join(texts[:most]) + (f"; … ({len(texts)} in all)" if len(texts) > most else "")
