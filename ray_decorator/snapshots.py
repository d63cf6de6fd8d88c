"""What a local path holds, by content: its files, each with its md5, at one moment.

As dvc does: links to files are read through, links to directories inside a tree are left out, and so are
``.git``, ``.hg``, ``.dvc`` and empty directories. A path that is itself a link is followed.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from . import manifest
from .errors import InputError
from .hashcache import HashCache, Hashed, Stamp
from .model import Content
from .parallel import each
from .progress import Progress
from .temporary import is_temporary

_THREADS = min(8, (os.cpu_count() or 1) + 1)
_CHUNK = 1024 * 1024
_SKIPPED = {".git", ".hg", ".dvc"}


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


def snapshot(path: Path, hashes: HashCache, progress: Progress) -> Snapshot:
    """Hash a file or a whole directory, but for what ``hashes`` has unchanged.

    Raises InputError naming every entry that cannot be read or is neither file nor directory.
    """
    root = os.path.realpath(path)
    taken = time.time_ns()
    found = _find(root, path)
    md5s = hash_files([(file.path, file.stamp) for file in found], root, taken, hashes, progress, prune=True)
    return _taken(root, found, md5s)


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


def hash_files(
    files: list[tuple[str, Stamp]],
    root: str,
    taken: int,
    hashes: HashCache | None,
    progress: Progress,
    *,
    prune: bool = False,
) -> Mapping[str, str]:
    """Path -> md5 of these files at and below ``root``, whose stamps were taken at ``taken`` (ns) or later.

    ``prune``: the files are all there are below ``root``. Raises InputError naming what cannot be read.
    """
    recorded = hashes.recorded(root) if hashes else {}
    unknown = []
    md5s: dict[str, str] = {}
    for path, stamp in files:
        if (known := recorded.get(path)) and known[0] == stamp:
            md5s[path] = known[1]
        else:
            unknown.append((path, stamp))
    fresh = _hash(unknown, taken, progress)
    md5s.update((file.path, file.md5) for file in fresh)
    if hashes:
        hashes.record(fresh)
        if prune:
            hashes.drop(recorded.keys() - md5s.keys())
    return md5s


def _hash(files: list[tuple[str, Stamp]], taken: int, progress: Progress) -> list[Hashed]:
    hashed: list[Hashed] = []
    problems: list[str] = []
    if files:
        progress.expect("hashing", len(files), sum(stamp.size for _, stamp in files))

    def work(item: tuple[str, Stamp]) -> None:
        path, stamp = item
        try:
            hashed.append(Hashed(path, stamp, _md5(path, stamp, progress), stamp.is_fresh(taken)))
        except OSError as exc:
            problems.append(f"{path}: cannot be read ({exc.strerror})")
        except InputError as exc:
            problems.extend(exc.problems)

    each(work, files, _THREADS)
    if problems:
        raise InputError(tuple(sorted(problems)))
    return hashed


def _md5(path: str, stamp: Stamp, progress: Progress) -> str:
    state = manifest.md5()
    with open(path, "rb", buffering=0) as file:
        if stamp.size <= _CHUNK:
            state.update(file.read(stamp.size + 1))
        else:
            buffer = memoryview(bytearray(_CHUNK))
            while count := file.readinto(buffer):
                state.update(buffer[:count])
                progress.advance("hashing", 0, count)
        if Stamp.of(os.fstat(file.fileno())) != stamp:
            raise InputError(changed(path))
    progress.advance("hashing", 1, stamp.size if stamp.size <= _CHUNK else 0)
    return state.hexdigest()


def changed(path: str) -> str:
    """What to say of a file that does not hold still."""
    return f"{path}: changed while it was being read; run again when nothing writes to it"


def _chosen(relpath: str, path: str, problems: list[str]) -> _Found | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        problems.append(changed(path))
        return None
    except OSError as exc:
        problems.append(f"{path}: cannot be read ({exc.strerror})")
        return None
    if not stat.S_ISREG(status.st_mode):
        problems.append(changed(path))
        return None
    return _Found(relpath, path, Stamp.of(status), bool(status.st_mode & 0o111))


def _find(root: str, named: Path) -> list[_Found]:
    problems: list[str] = []
    try:
        status = os.stat(root)
    except FileNotFoundError as exc:
        raise InputError(f"{named}: there is no such file or directory") from exc
    except OSError as exc:
        raise InputError(f"{named}: cannot be read ({exc.strerror})") from exc
    if stat.S_ISREG(status.st_mode):
        return [_Found("", root, Stamp.of(status), bool(status.st_mode & 0o111))]
    if not stat.S_ISDIR(status.st_mode):
        raise InputError(f"{named}: is a {_kind(status.st_mode)}, not a file or directory")
    found = list(_walk(root, problems))
    if problems:
        raise InputError(tuple(sorted(problems)))
    return found


def _walk(root: str, problems: list[str]) -> Iterator[_Found]:
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    if found := _entry(entry, folder, pending, problems):
                        yield found
        except OSError as exc:
            problems.append(f"{os.path.join(root, folder)}: cannot be read ({exc.strerror})")


def _entry(entry: os.DirEntry[str], folder: str, pending: list[str], problems: list[str]) -> _Found | None:
    relpath = folder + entry.name
    try:
        status = entry.stat()
    except OSError as exc:
        what = "a symlink that leads nowhere" if entry.is_symlink() else f"cannot be read ({exc.strerror})"
        problems.append(f"{entry.path}: {what}")
        return None
    if stat.S_ISDIR(status.st_mode):
        if not entry.is_symlink() and entry.name not in _SKIPPED:
            pending.append(relpath + "/")
        return None
    if entry.name == ".git" or is_temporary(entry.name):
        return None
    if not stat.S_ISREG(status.st_mode):
        problems.append(f"{entry.path}: is a {_kind(status.st_mode)}, not a file or directory")
        return None
    return _Found(relpath, entry.path, Stamp.of(status), bool(status.st_mode & 0o111))


def _kind(mode: int) -> str:
    kinds = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "FIFO", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    return kinds.get(stat.S_IFMT(mode), "special file")
