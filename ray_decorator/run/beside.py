"""Receipts of jobs whose data stays where it is: the driver writes them, beside the jobs and never in their way.

    a run begins       code and packages are looked at, deps are hashed, in a thread of low priority
    a job has ended    its outs are hashed; its receipt says where they are

No job waits for that, and a run waits for its last receipts for a second at the most, and not at all for a hash that
takes longer. A dep that is not certain to be what it was when the job started gives no receipt, nor does an out that
another job has written to since. Nor does a job of this machine during which the code has changed, which it reads
where it lies: a receipt that it has left itself is removed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue

from ..content.fingerprint import fingerprint
from ..core.errors import InputError, RayS3Error
from ..core.model import Call, Content, Job, Outcome, PathSlot
from ..core.records import Begun, JobRecord, Left, begun_key, dump, job_key
from ..core.returned import Told
from ..store.last_checkpoint import family
from .ledger import Ledger, Shared
from .staging import Staging
from .surroundings import is_as_it_was

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.2  # between two looks at code and deps, which all jobs that have ended meanwhile share
_END_SECONDS = 1.0
_LONG_SECONDS = 0.3
_LOW_PRIORITY = 10
_LARGE = 64 * 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class _Started:
    """A job that runs. ``seals`` are the fingerprints of what it reads in place, by real path."""

    call: Call
    job: Job
    seals: Mapping[str, str]
    shared: Shared | None


@dataclass(frozen=True, slots=True)
class _Ended:
    started: _Started
    outcome: Outcome
    told: Told
    at: float


@dataclass(frozen=True, slots=True)
class _Written:
    """A job has left a receipt itself, on this machine."""

    id: str
    shared: Shared | None


@dataclass(frozen=True, slots=True)
class _Hashed:
    seal: str
    content: Content


class Beside:
    """Writes a session's receipts. Its verbs may be called from any thread, and take no time."""

    def __init__(self, ledger: Ledger, staging: Staging, attempts: int = 1) -> None:
        self._ledger, self._staging, self._attempts = ledger, staging, attempts
        self._queue: SimpleQueue[_Started | _Ended | _Written] = SimpleQueue()
        self._writers: dict[str, str] = {}  # real path -> the last job that was started to write it
        self._deps: dict[str, _Hashed] = {}
        self._open = 0
        self._lock, self._idle = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._hurry = threading.Event()
        self._busy_since = 0.0
        self._said = False
        self._begun: set[str] = set()
        self._idle.set()

    def begin(self, call: Call, job: Job, seals: Mapping[str, str]) -> Callable[[Future[Outcome]], None]:
        """A job is about to be started that has an entry without an id; returns what to call once it has ended."""
        started = _Started(call, job, seals, self._ledger.shared)
        with self._lock:
            self._writers.update(dict.fromkeys((target.real for target in call.targets), job.id))
        self._put(started)
        return lambda done: self._has_ended(started, done)

    def written(self, job_id: str) -> Callable[[Future[Outcome]], None]:
        """A job of this id is about to be started here, and writes its receipt; what to call once it has ended."""
        written = _Written(job_id, self._ledger.shared)
        return lambda done: self._put(written)

    def _has_ended(self, started: _Started, done: Future[Outcome]) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        outcome = done.result()
        if outcome.told is not None:
            self._put(_Ended(started, outcome, outcome.told, time.time()))

    def finish(self) -> None:
        """A run is over: wait for its receipts, as long as that may be."""
        deadline = time.monotonic() + _END_SECONDS
        self._hurry.set()
        while not self._idle.wait(0.02) and time.monotonic() < deadline:
            if self._busy_since and time.monotonic() - self._busy_since > _LONG_SECONDS:
                log.debug("some jobs leave no receipts: their deps are still being hashed")
                return

    def _put(self, item: _Started | _Ended | _Written) -> None:
        with self._lock:
            self._open += 1
            self._idle.clear()
            self._hurry.clear()
            self._queue.put(item)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ray-s3-beside", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)
        while True:
            items: list[_Started | _Ended | _Written] = [self._queue.get()]
            with contextlib.suppress(Empty):
                while True:
                    items.append(self._queue.get_nowait())
            self._take(items)
            with self._lock:
                self._open -= len(items)
                if not self._open:
                    self._idle.set()
            self._hurry.wait(_PAUSE_SECONDS)

    def _take(self, items: Sequence[_Started | _Ended | _Written]) -> None:
        for item in items:
            if isinstance(item, _Written):
                continue
            started = item if isinstance(item, _Started) else item.started
            for real, seal in started.seals.items():
                with _despite(f"jobs that read {real} leave no receipts"):
                    self._hash(real, seal)
        now: dict[str, bool] = {}
        for item in items:
            if isinstance(item, _Started):
                with _despite(f"a later run of {item.call.name} begins without its checkpoints"):
                    self._note_begun(item, now)
            elif isinstance(item, _Ended):
                with _despite(f"{item.started.call.name} leaves no receipt"):
                    self._write(item, now)
            elif not self._code_is_same(item.shared, now):
                with _despite(f"the receipt of job {item.id} stays"):
                    self._staging.open().delete(job_key(item.id))

    def _hash(self, real: str, seal: str) -> None:
        known = self._deps.get(real)
        if not seal or (known is not None and known.seal == seal):
            return
        self._busy_since = time.monotonic()
        try:
            if fingerprint(real) == seal:
                self._deps[real] = _Hashed(seal, self._staging.held(Path(real)))
        except InputError as exc:
            log.debug("jobs that read %s leave no receipts: %s", real, exc)
        finally:
            self._busy_since = 0.0

    def _write(self, ended: _Ended, now: dict[str, bool]) -> None:
        call, job = ended.started.call, ended.started.job
        if not self._code_is_same(ended.started.shared, now):
            return
        contents = self._contents(ended.started, now)
        if contents is None:
            log.debug("%s leaves no receipt: what it read is not certain", call.name)
            return
        entry = self._ledger.entry(call, contents, ended.started.shared)
        if entry is None:
            return
        left = {target.key: Left(target.key, None, target.real, seal) for target, seal in _seals(call)}
        large = any(_is_large(one.place) for one in left.values())
        if large and self._is_last(call, job):
            self._put_record(
                _record(ended, entry.id, left, call)
            )  # what follows may take until the program has ended
        for target in call.outs:
            if target.key in left and (hashed := self._hashed(left[target.key])) is not None:
                left[target.key] = hashed
        if ended.told.status == "COMPLETED":
            self._forget_begun(entry.id)
        if self._is_last(call, job):
            self._put_record(_record(ended, entry.id, left, call))
            with self._lock:
                for target in call.targets:
                    self._writers.pop(target.real, None)

    def _note_begun(self, started: _Started, now: dict[str, bool]) -> None:
        """Say under which id a later run finds the checkpoints of the job, if it makes any."""
        if started.job.entry is None or started.job.entry.known:  # it says so itself, with its first one
            return
        written = {out.real for out in started.call.outs}
        both = [dep.real for dep in started.call.deps if dep.real in written]
        contents = self._contents(started, now) if both else None
        if contents is None:
            return
        contents.update((real, self._staging.held(Path(real))) for real in both)
        entry = self._ledger.entry(started.call, contents, started.shared)
        if entry is not None:
            begun = dump(Begun(family(started.job), self._attempts, entry.before))
            self._staging.open().put(begun_key(entry.id), begun or b"")
            self._begun.add(entry.id)

    def _forget_begun(self, job_id: str) -> None:
        if job_id in self._begun:
            self._begun.discard(job_id)
            self._staging.open().delete(begun_key(job_id))

    def _put_record(self, record: JobRecord) -> None:
        try:
            if (data := dump(record)) is not None:
                self._staging.open().put(job_key(record.id), data)
        except RayS3Error as exc:
            log.debug("%s leaves no receipt: %s", record.id, exc)

    def _is_last(self, call: Call, job: Job) -> bool:
        """Whether no later job writes where this one has written."""
        with self._lock:
            return all(self._writers.get(target.real) == job.id for target in call.targets)

    def _hashed(self, left: Left) -> Left | None:
        """With its content, which tells it also where its files have been replaced by equal ones."""
        self._busy_since = time.monotonic()
        try:
            content = self._staging.held(Path(left.place), lenient=True)
        except InputError:
            return None
        finally:
            self._busy_since = 0.0
        return replace(left, content=content) if fingerprint(left.place) == left.seal else None

    def _contents(self, started: _Started, now: dict[str, bool]) -> dict[str, Content] | None:
        """What the job's deps held while it ran, by real path; None where that is not certain."""
        contents: dict[str, Content] = {}
        for slot, dep in zip(started.call.deps, started.job.deps, strict=True):
            if dep.content is not None:
                contents[slot.real] = dep.content
            elif dep.inside is None:
                hashed, seal = self._deps.get(slot.real), started.seals.get(slot.real)
                if hashed is None or not seal or hashed.seal != seal or not self._is_same(slot, hashed, now):
                    return None
                contents[slot.real] = hashed.content
        return contents

    def _code_is_same(self, shared: Shared | None, now: dict[str, bool]) -> bool:
        """Whether the code still is what the run began with: jobs import it from where it lies."""
        if shared is None or shared.around.exception() is not None:
            return True  # the ledger says why there is no receipt
        key = f"code {id(shared.around)}"  # one for all jobs of a batch
        if key not in now:
            now[key] = is_as_it_was(shared.around.result())
            if not now[key] and not self._said:
                self._said = True
                log.info(
                    "the project's code has changed since the run began: jobs that end now leave no receipts, "
                    "and a later `resume` would run them again"
                )
        return now[key]

    def _is_same(self, slot: PathSlot, hashed: _Hashed, now: dict[str, bool]) -> bool:
        """Whether the dep still is what was hashed, now that jobs have ended; files behind its links, too."""
        if slot.real not in now:
            now[slot.real] = fingerprint(slot.real) == hashed.seal and self._held(slot) == hashed.content
        return now[slot.real]

    def _held(self, slot: PathSlot) -> Content | None:
        with contextlib.suppress(InputError):
            return self._staging.held(Path(slot.real))
        return None


@contextlib.contextmanager
def _despite(what: str) -> Iterator[None]:
    """Receipts are not worth a run, nor one of them the others."""
    try:
        yield
    except Exception as exc:
        log.warning("%s: %s: %s", what, type(exc).__name__, exc)


def _record(ended: _Ended, job_id: str, left: Mapping[str, Left], call: Call) -> JobRecord:
    entry, outcome, told = ended.started.job.entry, ended.outcome, ended.told
    assert entry is not None
    return JobRecord(
        id=job_id,
        run=entry.run,
        app=entry.app,
        overrides=entry.overrides,
        status=told.status,
        value=told.value,
        error=told.error,
        traceback=told.traceback,
        outs=tuple(left[target.key] for target in call.outs if target.key in left),
        workspace=left.get(call.workspace.key) if call.workspace else None,
        ended=ended.at,
        seconds=outcome.seconds,
        sent=outcome.sent,
        received=outcome.received,
        node=outcome.node,
    )


def _seals(call: Call) -> list[tuple[PathSlot, str]]:
    """What is there of what the job was to write, with its fingerprint."""
    return [(each, seal) for each in call.targets if (seal := fingerprint(each.real))]


def _is_large(path: str) -> bool:
    """Whether it takes a while to hash it."""
    total = os.path.getsize(path) if os.path.isfile(path) else 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
        if total > _LARGE:
            return True
    return total > _LARGE
