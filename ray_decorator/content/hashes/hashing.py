"""The md5s of files: from the hash cache where they are unchanged, from who is sure of them, or from their bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from ...core.errors import Changed, InputError
from ...core.progress import Progress
from .. import manifest
from ..threads import Pace, each
from .hash_cache import HashCache, Hashed, Stamp

_THREADS = min(8, (os.cpu_count() or 1) + 1)
_CHUNK = 1024 * 1024
_BATCH = 64  # files
_SMALL = 8 * 1024  # bytes a file, on average: md5 takes no longer than the system calls around it


Known = Callable[[Mapping[str, Stamp]], Mapping[str, str]]
"""Of files, by path with their stamps, the md5s that somebody else is sure of."""


class Md5s(NamedTuple):
    """Path -> md5, and the large files among them that were hashed now and had not changed for long.

    Any later change to one of ``settled`` shows in its stamp. ``unread`` are those that were known without reading.
    """

    by_path: dict[str, str]
    settled: frozenset[str]
    unread: frozenset[str] = frozenset()


def hash_files(
    stamps: Mapping[str, Stamp],
    root: str,
    taken: int,
    hashes: HashCache | None,
    progress: Progress,
    *,
    prune: bool = False,
    unreadable: dict[str, str] | None = None,
    known: Known | None = None,
) -> Md5s:
    """The md5s of these files at and below ``root``, whose stamps were taken at ``taken`` (ns) or later.

    ``prune``: the files are all there are below ``root``. What cannot be read goes into ``unreadable``, path
    -> why; where that is None, InputError names it. InputError also names what changes meanwhile. ``known`` is asked
    for those that the hash cache has not.
    """
    md5s, others = hashes.unchanged(root, stamps) if hashes else ({}, [])
    for look in _in_order(hashes, known, stamps, md5s):
        if rest := {p: stamp for p, stamp in stamps.items() if p not in md5s} if md5s else stamps:
            md5s.update(look(rest))
    unread = frozenset(md5s)
    unknown = [(path, stamp) for path, stamp in stamps.items() if path not in md5s]
    fresh = _hash(unknown, taken, progress, unreadable) if unknown else []
    md5s.update((file.path, file.md5) for file in fresh)
    if hashes and fresh:
        hashes.record(fresh)
    if hashes and prune and others:
        hashes.drop(others)
    settled = (f.path for f in fresh if f.stamp.size > _CHUNK and f.stamp.is_settled(taken))
    return Md5s(md5s, frozenset(settled), unread)


def _in_order(
    hashes: HashCache | None, known: Known | None, stamps: Mapping[str, Stamp], md5s: Collection[str]
) -> list[Known]:
    """Who may know those that are not in ``md5s``, the likeliest first: files of one directory are mostly alike."""
    if hashes is None:
        return [known] if known else []
    if known is None:
        return [hashes.anywhere]
    one = next(((path, stamp) for path, stamp in stamps.items() if path not in md5s), None)
    return [hashes.anywhere, known] if one and hashes.anywhere(dict([one])) else [known, hashes.anywhere]


def _hash(
    files: list[tuple[str, Stamp]], taken: int, progress: Progress, unreadable: dict[str, str] | None
) -> list[Hashed]:
    hashed: list[Hashed] = []
    problems: list[str] = []
    size = sum(stamp.size for _, stamp in files)
    progress.expect("hashing", len(files), size)

    def work(batch: list[tuple[str, Stamp]]) -> None:
        done = count = 0
        for path, stamp in batch:
            try:
                hashed.append(Hashed(path, stamp, _md5(path, stamp, progress), stamp.is_fresh(taken)))
            except OSError as exc:
                if unreadable is None:
                    problems.append(f"{path}: {cannot_be_read(exc)}")
                else:
                    unreadable[path] = cannot_be_read(exc)
                continue
            except InputError as exc:
                problems.extend(exc.problems)
                continue
            done += 1
            count += stamp.size if stamp.size <= _CHUNK else 0
        progress.advance("hashing", done, count)

    batches = list(_batches(files))
    # Each system call gives the interpreter's lock away: for small files that the system has in memory, more
    # than one thread takes more than twice the time.
    if size < len(files) * _SMALL:
        pace = Pace()
        while batches and not pace.waits:
            pace.do(work, batches.pop())
    each(work, batches, _THREADS)
    if problems:
        raise InputError(tuple(sorted(problems)))
    return hashed


def _batches(files: list[tuple[str, Stamp]]) -> Iterator[list[tuple[str, Stamp]]]:
    batch: list[tuple[str, Stamp]] = []
    size = 0
    for file in files:
        batch.append(file)
        size += file[1].size
        if len(batch) == _BATCH or size > _CHUNK:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _md5(path: str, stamp: Stamp, progress: Progress) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if stamp.size <= _CHUNK:
            data = os.read(fd, stamp.size + 1)
            state = manifest.md5(data)
            while 0 < len(data) < stamp.size and (more := os.read(fd, _CHUNK)):  # a network file system's
                state.update(more)
                data += more
        else:
            state = _md5_in_pieces(fd, progress)
        if Stamp.of(os.fstat(fd)) != stamp:
            raise InputError(changed(path))
    finally:
        os.close(fd)
    return state.hexdigest()


def _md5_in_pieces(fd: int, progress: Progress) -> hashlib._Hash:
    state, buffer = manifest.md5(), memoryview(bytearray(_CHUNK))
    while count := os.readv(fd, [buffer]):
        state.update(buffer[:count])
        progress.advance("hashing", 0, count)
    return state


def changed(path: str) -> Changed:
    """What to say of a file that does not hold still."""
    return Changed(f"{path}: changed while it was being read; run again when nothing writes to it", path)


def cannot_be_read(exc: OSError) -> str:
    """What to say of a file that the system does not let us read."""
    return f"cannot be read ({exc.strerror})"
