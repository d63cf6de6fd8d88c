"""What a local path holds, by content: its files, each with its md5, at one moment.

As dvc does: links to files are read through, links to directories inside a tree are left out, and so are
``.git``, ``.hg``, ``.dvc`` and empty directories. A path that is itself a link is followed. Unlike dvc, what
is left out for being a link is told.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..core.errors import InputError
from ..core.model import Content
from ..core.progress import Progress
from . import manifest
from .hash_cache import HashCache, Stamp
from .hashing import cannot_be_read, changed, hash_files
from .temporary import is_temporary

log = logging.getLogger(__name__)

_SKIPPED = {".git", ".hg", ".dvc"}
_MOST_LINKS = 3
_MOST_LEFT_OUT = 5

_spoken_of: set[str] = set()
"""Directories whose links were warned of in this process, which may take them again for each call."""


class Entry(NamedTuple):
    """A file as it was when hashed: ``relpath`` is ``""`` where the snapshot is of a single file."""

    relpath: str
    path: str
    size: int
    md5: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a path held. ``manifest`` is a directory's, as the store keeps it; None for a single file."""

    path: str
    content: Content
    entries: tuple[Entry, ...]
    manifest: bytes | None


class _Found(NamedTuple):
    relpath: str
    path: str
    stamp: Stamp
    executable: bool


def snapshot(path: Path, hashes: HashCache, progress: Progress, *, lenient: bool = False) -> Snapshot:
    """Hash a file or a whole directory, but for what ``hashes`` has unchanged.

    Raises InputError naming every entry that cannot be read or is neither file nor directory. With
    ``lenient`` such entries of a directory are left out, with a warning: for what a job has written, and
    cannot be asked to write again. Either way an entry that changes meanwhile is an error.
    """
    root = os.path.realpath(path)
    taken = time.time_ns()
    seen = _look(root, path)
    if seen.bad and not lenient:
        raise _error(seen.bad)
    files = [(file.path, file.stamp) for file in seen.files]
    unreadable = seen.bad if lenient else None
    md5s = hash_files(files, root, taken, hashes, progress, prune=True, unreadable=unreadable)
    if root in seen.bad:
        raise _error(seen.bad)
    _warn(path, root, seen, lenient)
    return _taken(root, [file for file in seen.files if file.path in md5s], md5s)


def files_of(path: Path) -> list[tuple[str, str]]:
    """The files that a lenient `snapshot` takes, each as its relative path and an absolute one; none is read."""
    root = os.path.realpath(path)
    seen = _look(root, path)
    _warn(path, root, seen, lenient=True)
    return [(file.relpath, file.path) for file in seen.files]


def snapshot_of(files: Sequence[tuple[str, str]], hashes: HashCache, progress: Progress) -> Snapshot:
    """A directory of chosen files, each (path in it, with ``/``; absolute path). Always a tree, if empty too.

    Each path in it is given once. Raises InputError naming every file that is gone, cannot be read, is no
    file, or changes while it is read.
    """
    taken = time.time_ns()
    problems: list[str] = []
    found = [file for relpath, path in files if (file := _chosen(relpath, path, problems))]
    if problems:
        raise InputError(tuple(sorted(problems)))
    parts: dict[str, list[_Found]] = {}
    for file in found:
        # one look into the cache for each of the few folders that the files come from
        parts.setdefault(file.relpath.partition("/")[0], []).append(file)
    md5s: dict[str, str] = {}
    for part in parts.values():
        root = os.path.commonpath([os.path.dirname(file.path) for file in part])
        md5s |= hash_files([(file.path, file.stamp) for file in part], root, taken, hashes, progress)
    return _taken(os.path.commonpath([file.path for file in found]) if found else "", found, md5s)


def _taken(root: str, found: Sequence[_Found], md5s: Mapping[str, str]) -> Snapshot:
    entries = tuple(Entry(file.relpath, file.path, file.stamp.size, md5s[file.path]) for file in found)
    executables = tuple(sorted(file.relpath for file in found if file.executable))
    size = sum(entry.size for entry in entries)
    if len(found) == 1 and not found[0].relpath:
        return Snapshot(root, Content(entries[0].md5, size, 1, executables), entries, None)
    digest, data = manifest.dump(manifest.Row(entry.relpath, entry.md5) for entry in entries)
    return Snapshot(root, Content(digest, size, len(entries), executables), entries, data)


def _chosen(relpath: str, path: str, problems: list[str]) -> _Found | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        problems.append(changed(path))
        return None
    except OSError as exc:
        problems.append(f"{path}: {cannot_be_read(exc)}")
        return None
    if not stat.S_ISREG(status.st_mode):
        problems.append(changed(path))
        return None
    return _found(relpath, path, status)


@dataclass(frozen=True, slots=True)
class _Look:
    """What is at and below a path.

    ``links``: relative path of one to a directory -> where it leads; ``bad``: path -> why it cannot be taken.
    """

    files: list[_Found]
    links: dict[str, str]
    bad: dict[str, str]


def _look(root: str, named: Path) -> _Look:
    try:
        status = os.stat(root)
    except FileNotFoundError as exc:
        raise InputError(f"{named}: {_missing(root, named)}") from exc
    except OSError as exc:
        raise InputError(f"{named}: {cannot_be_read(exc)}") from exc
    if stat.S_ISREG(status.st_mode):
        return _Look([_found("", root, status)], {}, {})
    if not stat.S_ISDIR(status.st_mode):
        raise InputError(f"{named}: {_is_no_file(status)}")
    return _walked(root)


def _walked(root: str) -> _Look:
    seen = _Look([], {}, {})
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    _see(entry, folder, pending, seen)
        except OSError as exc:
            seen.bad[os.path.join(root, folder).rstrip("/")] = cannot_be_read(exc)
    return seen


def _see(entry: os.DirEntry[str], folder: str, pending: list[str], seen: _Look) -> None:
    relpath = folder + entry.name
    try:
        status = entry.stat()
        is_folder = stat.S_ISDIR(status.st_mode)
        leads_to = os.readlink(entry.path) if is_folder and entry.is_symlink() else None
    except OSError as exc:
        leads_nowhere = "a symlink that leads nowhere"
        seen.bad[entry.path] = leads_nowhere if entry.is_symlink() else cannot_be_read(exc)
        return
    if _is_passed_over(entry.name, is_folder):
        return
    if leads_to is not None:
        seen.links[relpath] = leads_to
    elif is_folder:
        pending.append(relpath + "/")
    elif stat.S_ISREG(status.st_mode):
        seen.files.append(_found(relpath, entry.path, status))
    else:
        seen.bad[entry.path] = _is_no_file(status)


def _is_passed_over(name: str, is_folder: bool) -> bool:
    return name in _SKIPPED if is_folder else name == ".git" or is_temporary(name)


def _found(relpath: str, path: str, status: os.stat_result) -> _Found:
    return _Found(relpath, path, Stamp.of(status), bool(status.st_mode & 0o111))


def _missing(root: str, named: Path) -> str:
    if named.is_symlink():
        return f"is a symlink to {root}, which does not exist; mend the link, or fetch what it leads to"
    return "there is no such file or directory"


def _is_no_file(status: os.stat_result) -> str:
    kinds = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "FIFO", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    return f"is a {kinds.get(stat.S_IFMT(status.st_mode), 'special file')}, not a file or directory"


def _error(bad: Mapping[str, str]) -> InputError:
    return InputError(tuple(sorted(f"{path}: {why}" for path, why in bad.items())))


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
