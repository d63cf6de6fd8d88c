"""A worker node's contents: fetched once, however many jobs want them.

    <root>/files/ab/cdef…      bytes, sealed (seals.py)
    <root>/files/ab/cdef….dir  a directory's manifest
    <root>/locks/<digest>      held while that content is fetched, and copied into the cache

What a job fetches is its own, and comes straight to its place; the cache gets a copy while the job runs
(cache_filling.py). Other jobs get copies, or reflinks where the file system makes them: no file that a job
reads is one that another job could write to.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ...content.extras import Modes
from ...content.manifest import Row, load, md5_of_file
from ...content.placing.merge import Plan, Target, plan
from ...content.placing.reflink import copy_bytes
from ...content.temporary import beside
from ...content.threads import each
from ...core.errors import CorruptObjectError
from ...core.machine.directories import private_directory
from ...core.progress import NoProgress
from ...core.values.contents import Content
from ...store.download import Wanted, download, manifest_bytes
from ...store.store import Store
from .cache_filling import Copy, fill, start
from .room import with_room
from .seals import is_sealed, used_now

_MOST_LOCKS = 256  # of a job that reads more contents, some may be fetched twice on a node
_LONGEST_WAIT = 600.0  # seconds for somebody else's fetch; then it is fetched once more
_TICK = 0.02
_AT_ONCE_FILES, _AT_ONCE_BYTES = 100, 64 * 1024 * 1024  # less is copied while the job waits
_THREADS = min(8, 2 * (os.cpu_count() or 1))


class Checkout(NamedTuple):
    """A content that a job wants at ``destination``, to read or, where it is ``writable``, to write as well."""

    content: Content
    destination: Path
    writable: bool = False


class _File(NamedTuple):
    """One file for a job: the cache's entry of its bytes, where the job finds it, and its mode there."""

    entry: str
    target: Target
    mode: int

    def is_there(self) -> bool:
        """Whether the file that is there will do as it is."""
        if self.target.stamp is None:
            return False
        may_stay = not self.mode & 0o200 or os.stat(self.target.path).st_mode & 0o200
        return bool(may_stay) and md5_of_file(self.target.path) == self.target.row.md5

    def copy_from(self, source: str) -> None:
        path = self.target.path
        if self.target.stamp is None and not os.path.lexists(path):
            copy_bytes(source, path, self.mode)
        else:
            temporary = beside(path)
            copy_bytes(source, temporary, self.mode)
            os.replace(temporary, path)


class NodeCache:
    """The cache in the directory ``root``. Any number of processes may use it at once.

    Raises InputError where others than this user could write to it.
    """

    def __init__(self, root: Path) -> None:
        root.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._root = private_directory(root)
        for name in ("files", "locks"):
            (root / name).mkdir(exist_ok=True, mode=0o700)

    def checkout(self, wanted: Sequence[Checkout], store: Store) -> int:
        """Put contents down for one job, all of them at once; returns the bytes fetched from the store.

        All files are the job's own, and read-only unless ``writable``. Raises MissingObjectError,
        CorruptObjectError, InputError where something else is in a file's place, and NodeDiskError where the
        disk is full even without all that was kept for later jobs.
        """
        return with_room(lambda: self._checkout(wanted, store))

    def _checkout(self, wanted: Sequence[Checkout], store: Store) -> int:
        areas: dict[str, list[Checkout]] = {}
        for one in wanted:
            areas.setdefault(one.content.area, []).append(one)
        return sum(self._put_down(part, store.of(part[0].content)) for part in areas.values())

    def _put_down(self, wanted: Sequence[Checkout], store: Store) -> int:
        received: list[int] = []
        files: list[_File] = []
        plans: list[Plan] = []

        def look(one: Checkout) -> None:
            rows, fetched = self._rows(one.content, store)
            received.append(fetched)
            planned = plan(one.destination, rows, one.content.extras)
            planned.make_folders()
            plans.append(planned)
            files.extend(
                f for f in self._files(planned.targets, one.content, one.writable) if not f.is_there()
            )

        each(look, wanted, _THREADS)
        if lacking := self._copy(files):
            with self._locked(one.content.digest for one in wanted) as locks:
                lacking = self._copy(lacking)  # another job may have fetched them while we waited
                received.append(self._fetch(lacking, store, locks))
        for planned in plans:
            planned.make_links()
        return sum(received)

    def _rows(self, content: Content, store: Store) -> tuple[tuple[Row, ...], int]:
        """The files of the content; its manifest from the cache if it is there, and unspoilt."""
        if not content.is_tree:
            return (Row("", content.digest),), 0
        if (rows := self._cached_rows(content)) is not None:
            return rows, 0
        with self._locked([content.digest]):
            if (rows := self._cached_rows(content)) is not None:
                return rows, 0  # another job fetched it while we waited
            data = manifest_bytes(content.digest, store)
            rows = load(data, content.digest)
            path = self._entry(content.digest)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            temporary = beside(path)
            Path(temporary).write_bytes(data)
            os.replace(temporary, path)
            return rows, len(data)

    def _cached_rows(self, content: Content) -> tuple[Row, ...] | None:
        with contextlib.suppress(OSError, CorruptObjectError):
            return load(Path(self._entry(content.digest)).read_bytes(), content.digest)
        return None

    def _entry(self, digest: str) -> str:
        return f"{self._root}/files/{digest[:2]}/{digest[2:]}"

    def _files(self, targets: Sequence[Target], content: Content, writable: bool) -> Iterator[_File]:
        modes = Modes(content)
        for target in targets:
            mode = modes.of(target.row.relpath, 0o666 if writable else 0o444)
            yield _File(self._entry(target.row.md5), target, mode)

    def _copy(self, files: Sequence[_File]) -> list[_File]:
        """Copy what the cache has; returns what it lacks."""
        lacking: list[_File] = []

        def one(file: _File) -> None:
            if is_sealed(file.entry):
                with contextlib.suppress(FileNotFoundError):  # somebody cleared the cache meanwhile
                    used_now(file.entry)
                    file.copy_from(file.entry)
                    return
            lacking.append(file)

        each(one, files, _THREADS)
        return lacking

    def _fetch(self, files: Sequence[_File], store: Store, locks: Sequence[int]) -> int:
        """Fetch each distinct content once, to where the job finds it."""
        first: dict[str, _File] = {}
        for file in files:
            first.setdefault(file.entry, file)
        wanted = [Wanted(f.target.row.md5, f.target.path, f.mode) for f in first.values()]
        # a job's own directory is seen by nobody yet; one that may be written to may be a directory at home
        unseen = all(f.target.stamp is None and not f.mode & 0o200 for f in first.values())
        fetched = download(wanted, store, NoProgress(), unseen=unseen)
        for file in files:
            if (source := first[file.entry]) is not file:
                file.copy_from(source.target.path)
        copies = [Copy(file, self._entry(file.md5)) for file in fetched]
        if len(fetched) < _AT_ONCE_FILES and sum(file.stamp.size for file in fetched) < _AT_ONCE_BYTES:
            fill(copies)  # the job may be over before another process has begun
        else:
            start(copies, locks)
        return sum(file.stamp.size for file in fetched)

    @contextlib.contextmanager
    def _locked(self, digests: Iterable[str]) -> Iterator[list[int]]:
        """Hold the locks of these contents, as open files, or go on without one that others hold for too long."""
        until = time.monotonic() + _LONGEST_WAIT
        with contextlib.ExitStack() as stack:
            held = []
            for digest in sorted(set(digests))[:_MOST_LOCKS]:
                lock = stack.enter_context(open(self._root / "locks" / digest, "w"))
                if _taken_before(until, lock.fileno()):
                    held.append(lock.fileno())
            yield held


def _taken_before(until: float, lock: int) -> bool:
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > until:
            return False
        time.sleep(_TICK)
