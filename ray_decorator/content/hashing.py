"""The md5s of files: those that the hash cache has unchanged, and the others from their bytes."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..core.errors import InputError
from ..core.progress import Progress
from . import manifest
from .hash_cache import HashCache, Hashed, Stamp
from .threads import each

_THREADS = min(8, (os.cpu_count() or 1) + 1)
_CHUNK = 1024 * 1024


def hash_files(
    files: list[tuple[str, Stamp]],
    root: str,
    taken: int,
    hashes: HashCache | None,
    progress: Progress,
    *,
    prune: bool = False,
    unreadable: dict[str, str] | None = None,
) -> Mapping[str, str]:
    """Path -> md5 of these files at and below ``root``, whose stamps were taken at ``taken`` (ns) or later.

    ``prune``: the files are all there are below ``root``. What cannot be read goes into ``unreadable``, path
    -> why; where that is None, InputError names it. InputError also names what changes meanwhile.
    """
    recorded = hashes.recorded(root) if hashes else {}
    unknown = []
    md5s: dict[str, str] = {}
    for path, stamp in files:
        if (known := recorded.get(path)) and known[0] == stamp:
            md5s[path] = known[1]
        else:
            unknown.append((path, stamp))
    fresh = _hash(unknown, taken, progress, unreadable)
    md5s.update((file.path, file.md5) for file in fresh)
    if hashes:
        hashes.record(fresh)
        if prune:
            hashes.drop(recorded.keys() - md5s.keys())
    return md5s


def _hash(
    files: list[tuple[str, Stamp]], taken: int, progress: Progress, unreadable: dict[str, str] | None
) -> list[Hashed]:
    hashed: list[Hashed] = []
    problems: list[str] = []
    if files:
        progress.expect("hashing", len(files), sum(stamp.size for _, stamp in files))

    def work(item: tuple[str, Stamp]) -> None:
        path, stamp = item
        try:
            hashed.append(Hashed(path, stamp, _md5(path, stamp, progress), stamp.is_fresh(taken)))
        except OSError as exc:
            if unreadable is None:
                problems.append(f"{path}: {cannot_be_read(exc)}")
            else:
                unreadable[path] = cannot_be_read(exc)
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


def cannot_be_read(exc: OSError) -> str:
    """What to say of a file that the system does not let us read."""
    return f"cannot be read ({exc.strerror})"
