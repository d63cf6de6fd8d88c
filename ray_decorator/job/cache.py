"""A worker node's contents: fetched once, however many jobs want them, and shared with each.

    <root>/files/ab/cdef…      bytes, read-only (0444)
    <root>/files/ab/cdef….x    the same, executable (0555)
    <root>/files/ab/cdef….dir  a directory's manifest
    <root>/locks/<digest>      held while that content is fetched

A job gets reflinks where the file system makes them. Else hard links, but not as root, whom read-only
modes do not bind: then copies. An entry's mtime is set when it is made, to a time that tells its size;
an entry that does not show it has been written to, and is fetched again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..content.manifest import Row, load, md5_of_file
from ..content.merge import Target, plan
from ..content.temporary import beside, clear_stale
from ..content.threads import each
from ..core.errors import CorruptObjectError, InputError
from ..core.model import Content
from ..core.progress import NoProgress, Progress
from ..store.download import Wanted, download, manifest_bytes
from ..store.store import Store

_FICLONE = 0x40049409  # linux/fs.h
_YEAR_2000 = 946_684_800  # s; the mtime of an empty entry: zip knows no time before 1980
_SPREAD = 100_000_000  # s, some three years: whole seconds are kept by every file system
_ATTEMPTS = 3
_CHUNK = 1024 * 1024
_THREADS = min(8, 2 * (os.cpu_count() or 1))


class _Share(NamedTuple):
    """One file for a job: the entry that has its bytes, and where the job finds it."""

    entry: str
    target: Target
    executable: bool


class NodeCache:
    """The cache in the directory ``root``. Any number of processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for name in ("files", "locks"):
            (root / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    def checkout(
        self,
        content: Content,
        destination: Path,
        store: Store,
        *,
        writable: bool,
        progress: Progress | None = None,
    ) -> int:
        """Put content down at ``destination`` for one job; returns the bytes fetched from the store.

        Files are read-only, and may be shared, unless ``writable``: then they are the job's own.
        Directories are always its own. Raises MissingObjectError, CorruptObjectError, and InputError
        where something else stands in a file's place.
        """
        progress = progress or NoProgress()
        rows, fetched = self._rows(content, store)
        executables = set(content.executables)
        planned = plan(destination, rows)
        shares = [
            _Share(self._entry(t.row.md5, t.row.relpath in executables), t, t.row.relpath in executables)
            for t in planned.targets
        ]
        for folder in planned.folders:
            os.makedirs(folder, exist_ok=True)
        for attempt in range(_ATTEMPTS):
            fetched += self._ensure(content, shares, store, progress)
            with contextlib.suppress(FileNotFoundError):  # somebody cleared the cache meanwhile
                _share_out(shares, writable, again=attempt > 0)
                return fetched
        raise InputError(
            f"{self._root}: entries vanish as fast as they are fetched; is something clearing it?"
        )

    def _rows(self, content: Content, store: Store) -> tuple[tuple[Row, ...], int]:
        """The files of the content; its manifest from the cache if it is there, and unspoilt."""
        if not content.is_tree:
            return (Row("", content.digest),), 0
        if (rows := self._cached_rows(content)) is not None:
            return rows, 0
        with self._locked(content.digest):
            if (rows := self._cached_rows(content)) is not None:
                return rows, 0  # another job fetched it while we waited
            data = manifest_bytes(content.digest, store)
            rows = load(data, content.digest)
            path = self._entry(content.digest, False)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            temporary = beside(path)
            Path(temporary).write_bytes(data)
            os.replace(temporary, path)
            return rows, len(data)

    def _cached_rows(self, content: Content) -> tuple[Row, ...] | None:
        with contextlib.suppress(OSError, CorruptObjectError):
            return load(Path(self._entry(content.digest, False)).read_bytes(), content.digest)
        return None

    def _entry(self, digest: str, executable: bool) -> str:
        return f"{self._root}/files/{digest[:2]}/{digest[2:]}{'.x' if executable else ''}"

    def _ensure(self, content: Content, shares: Sequence[_Share], store: Store, progress: Progress) -> int:
        """Fetch the entries that are not there, or not as they were left."""
        if not _lacking(shares):
            return 0
        with self._locked(content.digest):
            wanted = _lacking(shares)  # another job may have fetched them while we waited
            folders = {os.path.dirname(want.path) for want in wanted}
            for folder in folders:
                os.makedirs(folder, exist_ok=True)
            clear_stale(folders)
            return sum(file.stamp.size for file in download(wanted, store, progress, _seal))

    @contextlib.contextmanager
    def _locked(self, digest: str) -> Iterator[None]:
        with open(self._root / "locks" / digest, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _lacking(shares: Sequence[_Share]) -> list[Wanted]:
    entries = {share.entry: share for share in shares}
    return [
        Wanted(share.target.row.md5, path, share.executable)
        for path, share in entries.items()
        if not _intact(path)
    ]


def _intact(path: str) -> bool:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return False
    return status.st_mtime_ns == _mtime_of(status.st_size) and not status.st_mode & 0o222


def _mtime_of(size: int) -> int:
    return (_YEAR_2000 + size % _SPREAD) * 1_000_000_000


def _seal(fd: int, want: Wanted) -> int:
    os.fchmod(fd, 0o555 if want.executable else 0o444)
    mtime = _mtime_of(os.fstat(fd).st_size)
    os.utime(fd, ns=(mtime, mtime))
    return mtime


def _share_out(shares: Sequence[_Share], writable: bool, *, again: bool) -> None:
    """Give the job its files. ``again``: an earlier attempt may have put down some of them."""
    reflinks = True
    hard_links = not writable and os.geteuid() != 0

    def one(share: _Share) -> None:
        nonlocal reflinks, hard_links
        standing = share.target.stamp is not None or (again and os.path.exists(share.target.path))
        if standing and _is_right(share, writable):
            return
        path = beside(share.target.path) if standing else share.target.path
        reflinks = reflinks and _reflink(share.entry, path, _mode(share, writable))
        if not reflinks:
            hard_links = hard_links and _hard_link(share.entry, path)
            if not hard_links:
                _copy(share.entry, path, _mode(share, writable))
        if standing:
            os.replace(path, share.target.path)

    each(one, shares, _THREADS)


def _is_right(share: _Share, writable: bool) -> bool:
    """Whether the file that stands there will do as it is."""
    entry, standing = os.stat(share.entry), os.stat(share.target.path)
    if entry.st_size != standing.st_size or (writable and not standing.st_mode & 0o200):
        return False
    return md5_of_file(share.target.path) == share.target.row.md5


def _mode(share: _Share, writable: bool) -> int:
    return (0o666 if writable else 0o444) | (0o111 if share.executable else 0)


def _reflink(entry: str, path: str, mode: int) -> bool:
    with open(entry, "rb") as source:
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            fcntl.ioctl(target, _FICLONE, source.fileno())
            return True
        except OSError:  # another file system, or one that has no reflinks
            os.unlink(path)
            return False
        finally:
            os.close(target)


def _hard_link(entry: str, path: str) -> bool:
    try:
        os.link(entry, path)
        return True
    except FileNotFoundError:
        raise
    except OSError:  # another file system, one without hard links, or too many of them
        return False


def _copy(entry: str, path: str, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(fd, "wb") as target, open(entry, "rb") as source:
        shutil.copyfileobj(source, target, _CHUNK)
