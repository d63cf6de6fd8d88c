"""How much of a node's disk is kept for later jobs: at most RAY_S3_CACHE_SIZE, least recently used first.

    <node root>/cache/files/    bytes of deps, a file each           never used by a job: it has copies (cache.py)
    <node root>/idle/           checkouts that no job has now        taken by a rename
    <node root>/envs/           environments                         not while a process runs in one
    <node root>/sizes.json      what directories that do not change take, found out once

What a running job has, and what is kept for the user (scratch.py), is never removed here.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

from ...core.errors import InputError
from ...core.machine.directories import node_directory
from .disk_errors import is_full, of_disk
from .sockets import clear_dead

log = logging.getLogger(__name__)

T = TypeVar("T")

SHARE = 0.2  # of the disk
_EVERY = 60.0  # seconds between two looks at all there is
_LOW = 0.05  # of the disk: with less free, what is kept goes first
_STARTING = 600.0  # seconds since an environment was chosen: a process may be about to start in it
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE = re.compile(r"\s*([\d.]+)\s*([kmgt]?)i?b?\s*|\s*([\d.]+)\s*%\s*", re.IGNORECASE)


class Kept(NamedTuple):
    """Something kept for later jobs: what it takes on the disk in bytes, and when it was used last."""

    path: str
    size: int
    used: float


def limit() -> int:
    """How many bytes may be kept: RAY_S3_CACHE_SIZE (``50GB``, ``10%`` of the disk, bytes), a fifth of the disk.

    Raises InputError for what is no such size.
    """
    given = os.environ.get("RAY_S3_CACHE_SIZE") or f"{SHARE:.0%}"
    found = _SIZE.fullmatch(given)
    number = math.nan
    with contextlib.suppress(ValueError):
        number = float(found[1] or found[3]) if found else math.nan
    if not found or not 0 <= number < math.inf:
        raise InputError(
            f"RAY_S3_CACHE_SIZE is {given!r}; expected a size such as 50GB, or a share of the disk such as 10%"
        )
    if found[3]:
        return int(shutil.disk_usage(_root()).total * number / 100)
    return int(number * _UNITS[found[2].lower()])


def has_room(folder: str, size: int) -> bool:
    """Whether ``size`` bytes more may be kept in ``folder`` for later jobs: those that run now need the disk, too."""
    usage = shutil.disk_usage(folder)
    return usage.free - size >= usage.total * _LOW


def _limit() -> int:
    try:
        return limit()
    except InputError as exc:
        log.warning("%s. Taken for %.0f %%", exc, SHARE * 100)
        return int(shutil.disk_usage(_root()).total * SHARE)


def kept() -> list[Kept]:
    """All that is kept on this node for later jobs, and that nobody uses now; in no order."""
    root, sizes = _root(), _Sizes(_root() / "sizes.json")
    found = [
        *_files(root / "cache" / "files"),
        *_folders(root / "idle", 2, sizes),
        *_environments(root, sizes),
    ]
    sizes.save()
    return found


def tidy() -> None:
    """Bring what is kept below the limit, where nobody has looked for a minute, or the disk is nearly full."""
    root = _root()
    usage = shutil.disk_usage(root)
    short = max(0, int(usage.total * _LOW) - usage.free)
    with contextlib.suppress(OSError), open(root / "tidied", "a+") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)  # another process looks just now
        if time.time() - os.fstat(mark.fileno()).st_mtime < _EVERY and not short and mark.tell():
            return
        mark.write("." if not mark.tell() else "")
        os.utime(mark.fileno())
        clear_dead()
        all_kept = kept()
        remove(all_kept, max(short, sum(one.size for one in all_kept) - _limit()))


def remove(found: list[Kept], size: float) -> int:
    """Remove the least recently used of these, until they took ``size`` bytes; how many those took."""
    gone = 0
    for one in sorted(found, key=lambda one: one.used):
        if gone >= size:
            break
        with contextlib.suppress(OSError):  # it was taken meanwhile
            discard(one.path)
            gone += one.size
    return gone


def make_room() -> int:
    """The disk is full: remove all that is kept for later jobs; how many bytes that took."""
    return remove(kept(), math.inf)


def with_room(work: Callable[[], T]) -> T:
    """What ``work`` returns. Where the disk is full, all that is kept for later jobs goes, and it is done again.

    Raises NodeDiskError where the disk is full even then, or does anything else wrong.
    """
    try:
        return work()
    except (OSError, InputError) as exc:
        if not is_full(exc):
            _raise(exc)
        make_room()
    try:
        return work()
    except (OSError, InputError) as exc:
        _raise(exc)


def _raise(error: Exception) -> NoReturn:
    told = of_disk(error)
    raise told from (error.__cause__ if told is error else error)


def _root() -> Path:
    return node_directory("cache").parent


def _files(folder: Path) -> Iterator[Kept]:
    with contextlib.suppress(OSError):
        for part in os.scandir(folder):
            with contextlib.suppress(OSError):  # gone meanwhile
                for entry in os.scandir(part.path):
                    status = entry.stat(follow_symlinks=False)
                    # an entry's mtime is its seal; the atime is set at each use
                    yield Kept(entry.path, status.st_blocks * 512, status.st_atime)


def _folders(folder: Path, depth: int, sizes: _Sizes) -> Iterator[Kept]:
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if not entry.is_dir(follow_symlinks=False) or entry.name.startswith("."):
                continue
            if depth > 1:
                yield from _folders(Path(entry.path), depth - 1, sizes)
            else:
                yield Kept(entry.path, sizes.of(entry.path), os.stat(folder).st_mtime)


def _environments(root: Path, sizes: _Sizes) -> Iterator[Kept]:
    running = _commands()
    for one in _folders(root / "envs", 1, sizes):
        marker = Path(one.path) / "complete"
        with contextlib.suppress(OSError):  # without a marker, it is being built
            used = marker.stat().st_mtime
            in_use = running is None or any(each.startswith(f"{one.path}/") for each in running)
            if not in_use and time.time() - used > _STARTING:
                yield one._replace(used=used)


def _commands() -> set[str] | None:
    """The executables of this user's processes; None where that cannot be seen."""
    found: set[str] = set()
    try:
        pids = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return None
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as line:
            found.update(os.fsdecode(each) for each in line.read().split(b"\0")[:2])
    return found


def discard(path: str) -> None:
    """Remove a file, or a directory that nobody is to find half removed. Raises OSError where it is not there."""
    if not os.path.isdir(path):
        os.unlink(path)
        return
    gone = tempfile.mkdtemp(prefix=".gone-", dir=node_directory("idle"))
    os.rename(path, os.path.join(gone, "it"))  # at once: nobody takes a part of it
    for folder, _, _ in os.walk(gone):
        os.chmod(folder, 0o700)
    shutil.rmtree(gone, ignore_errors=True)
    for beside in (f"{path}.lock", f"{path}.failed"):
        with contextlib.suppress(OSError):
            os.unlink(beside)


class _Sizes:
    """What directories that do not change take, by path."""

    def __init__(self, file: Path) -> None:
        self._file, self._known, self._seen = file, {}, {}  # type: ignore[var-annotated]
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(file.read_bytes())
            self._known = known if isinstance(known, dict) else {}

    def of(self, path: str) -> int:
        size = self._known.get(path)
        self._seen[path] = size if isinstance(size, int) else size_of(path)
        return int(self._seen[path])

    def save(self) -> None:
        if self._seen != self._known:
            with contextlib.suppress(OSError):
                temporary = self._file.with_suffix(f".{os.getpid()}")
                temporary.write_text(json.dumps(self._seen))
                os.replace(temporary, self._file)


def size_of(path: str | os.PathLike[str]) -> int:
    """What the files below a directory take on the disk, in bytes."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total
