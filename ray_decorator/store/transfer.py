"""Content goes to a store and comes home: the two directions, each a short story over its parts.

snapshot(path)          what a path holds, by content                  (content/looking/snapshot.py)
push_all(snapshots)     files the store lacks -> their manifests       (pushing.py, upload.py)
pull_all(contents)      manifests -> files that are not right yet      (content/placing/merge.py, download.py)
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..content.extras import Modes, close, closed_bits
from ..content.hashes.hash_cache import HashCache, Stamp
from ..content.hashes.hashing import hash_files
from ..content.looking.snapshot import Snapshot, snapshot
from ..content.manifest import Row, object_key
from ..content.placing.merge import Plan, Target, plan
from ..content.temporary import clear_stale
from ..content.threads import each
from ..core.errors import CorruptObjectError, MissingObjectError
from ..core.progress import Progress
from ..core.values.contents import Content
from .download import Wanted, download, rows_of
from .pushing import push, push_all, push_each
from .store import Store

__all__ = ["Snapshot", "pull", "pull_all", "push", "push_all", "push_each", "snapshot"]


class Pulled(NamedTuple):
    """What came of one content: the bytes received, or why it is not all in its place, and how many files are.

    ``rows`` are its files, where all are in their places.
    """

    received: int = 0
    error: Exception | None = None
    came: int = 0
    rows: tuple[Row, ...] = ()


def pull(
    content: Content, destination: Path, store: Store, hashes: HashCache | None, progress: Progress
) -> int:
    """`pull_all` of a single content; raises its error."""
    [pulled] = pull_all([(content, destination)], store, hashes, progress)
    if pulled.error is not None:
        raise pulled.error
    return pulled.received


def pull_all(
    wanted: Sequence[tuple[Content, Path]], store: Store, hashes: HashCache | None, progress: Progress
) -> list[Pulled]:
    """Bring contents home, each merged into what stands at its destination.

    Files that are right already are left alone, no others are touched, nothing is deleted. An error is of
    one content alone: InputError where something else stands in a file's place, MissingObjectError,
    CorruptObjectError; files that came before it stay.
    """
    arrivals = [_Arrival(content, destination) for content, destination in wanted]
    areas: dict[str, list[_Arrival]] = {}
    for arrival in arrivals:
        areas.setdefault(arrival.content.area, []).append(arrival)
    parts = list(areas.values())
    each(lambda part: _pull_all(part, store.of(part[0].content), hashes, progress), parts, len(parts))
    return [
        Pulled(arrival.received, arrival.error, arrival.came())
        if arrival.error
        else Pulled(arrival.received, rows=arrival.rows)
        for arrival in arrivals
    ]


def _pull_all(
    arrivals: Sequence[_Arrival], store: Store, hashes: HashCache | None, progress: Progress
) -> None:
    each(lambda arrival: arrival.prepare(store, hashes, progress), arrivals, store.threads)
    ready = [arrival for arrival in arrivals if arrival.error is None]
    try:
        _fetch(ready, store, hashes, progress)
    except Exception as exc:
        if len(ready) == 1:
            ready[0].fail(exc, store, hashes)
        else:  # of one of them: each on its own, so that the others come
            for arrival in ready:
                try:
                    _fetch([arrival], store, hashes, progress)
                except Exception as own:
                    arrival.fail(own, store, hashes)


class _Arrival:
    """A content on its way to its destination."""

    def __init__(self, content: Content, destination: Path) -> None:
        self.content, self.destination = content, destination
        self.error: Exception | None = None
        self.received = 0
        self.rows: tuple[Row, ...] = ()
        self.plan: Plan | None = None
        self.right: list[Target] = []
        self.wrong: list[Wanted] = []
        self._before: dict[str, Stamp | None] = {}

    def fail(self, error: Exception, store: Store, hashes: HashCache | None) -> None:
        """Take an error for this content's; one of lost objects also says which files they are."""
        self.error = error
        if isinstance(error, MissingObjectError | CorruptObjectError) and error.digests:
            if hashes is not None:
                hashes.forget(store.place, {*error.digests, self.content.digest})
            lost = {row.md5: row.relpath or self.destination.name for row in self.rows}
            lost.setdefault(self.content.digest, self.destination.name)
            names = [f"{lost[each]} ({object_key(each)})" for each in error.digests if each in lost]
            if isinstance(error, MissingObjectError):
                self.error = MissingObjectError(error.digests, store.url, tuple(names))
            else:
                self.error = CorruptObjectError(f"{', '.join(names)}: {error}", error.digests)

    def prepare(self, store: Store, hashes: HashCache | None, progress: Progress) -> None:
        """Find out what is to be fetched, and make the directories for it."""
        try:
            self.rows = rows_of(self.content, store)
            self.plan = plan(self.destination, self.rows, self.content.extras)
            self.right, wrong = _sorted_out(self.plan, self.content, hashes, progress)
            _make_folders(self.plan, wrong)
            self._before = {target.path: target.stamp for target in wrong}
            modes = Modes(self.content)
            self.wrong = [
                Wanted(t.row.md5, t.path, modes.of(t.row.relpath) & ~_closed_there(t)) for t in wrong
            ]
        except Exception as exc:
            self.fail(exc, store, hashes)

    def came(self) -> int:
        """How many files are right now, where not all of them came."""
        return len(self.right) + sum(
            _stamp(path) not in (None, before) for path, before in self._before.items()
        )

    def finish(self, hashes: HashCache | None, store: Store, sizes: dict[str, int]) -> None:
        assert self.plan is not None
        executables, private = set(self.content.executables), dict(self.content.extras.private)
        for target in self.right:
            if target.row.relpath in executables:
                _make_executable(target.path)
            if bits := private.get(target.row.relpath):
                close(target.path, bits)
        self.plan.make_links()
        self.received += sum(sizes.pop(want.path, 0) for want in self.wrong)
        if hashes is not None:
            hashes.remember(store.place, {self.content.digest, *(row.md5 for row in self.rows)})


def _fetch(arrivals: Sequence[_Arrival], store: Store, hashes: HashCache | None, progress: Progress) -> None:
    wanted = {want.path: want for arrival in arrivals for want in arrival.wrong}
    fetched = download(list(wanted.values()), store, progress)
    if hashes is not None:
        hashes.record(fetched)
    sizes = {file.path: file.stamp.size for file in fetched}
    for arrival in arrivals:
        arrival.finish(hashes, store, sizes)


def _sorted_out(
    planned: Plan, content: Content, hashes: HashCache | None, progress: Progress
) -> tuple[list[Target], list[Target]]:
    """Part the targets into those whose bytes are right already, and those to fetch."""
    now = time.time_ns()
    standing = {
        target.path: target.stamp
        for target in planned.targets
        if target.stamp and (content.is_tree or target.stamp.size == content.size)
    }
    md5s = hash_files(standing, planned.root, now, hashes, progress).by_path if standing else {}
    right: list[Target] = []
    wrong: list[Target] = []
    for target in planned.targets:
        (right if md5s.get(target.path) == target.row.md5 else wrong).append(target)
    return right, wrong


def _make_folders(planned: Plan, wrong: Sequence[Target]) -> None:
    planned.make_folders()
    clear_stale({os.path.dirname(target.path) for target in wrong} - set(planned.folders))


def _closed_there(target: Target) -> int:
    """A file that takes another one's place is no more open than that was, as where a program writes into it."""
    return closed_bits(os.stat(target.path).st_mode) if target.stamp is not None else 0


def _stamp(path: str) -> Stamp | None:
    with contextlib.suppress(OSError):
        return Stamp.of(os.stat(path))
    return None


def _make_executable(path: str) -> None:
    mode = os.stat(path).st_mode
    wished = mode | ((mode & 0o444) >> 2)
    if mode != wished:
        with contextlib.suppress(PermissionError):  # another user's file
            os.chmod(path, wished)
