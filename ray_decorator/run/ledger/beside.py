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

from ...content.looking.fingerprint import fingerprint
from ...core.errors import InputError, RayS3Error
from ...core.records.records import JobRecord, Left, dump, job_key
from ...core.values.model import Call, Job, Outcome, PathSlot
from ...core.values.returned import Told
from ..data.staging import Staging
from .begun import BegunJobs, needs_note
from .certain_deps import CertainDeps
from .ledger import Ledger, Shared
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


class Beside:
    """Writes a session's receipts. Its verbs may be called from any thread, and take no time."""

    def __init__(self, ledger: Ledger, staging: Staging, attempts: int = 1) -> None:
        self._ledger, self._staging = ledger, staging
        self._queue: SimpleQueue[_Started | _Ended | _Written] = SimpleQueue()
        self._writers: dict[str, str] = {}  # real path -> the last job that was started to write it
        self._deps = CertainDeps(staging)
        self._begun = BegunJobs(ledger, staging, attempts)
        self._open = 0
        self._lock, self._idle = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._hurry = threading.Event()
        self._busy_since = 0.0
        self._said = False
        self._idle.set()

    def begin(self, call: Call, job: Job, seals: Mapping[str, str]) -> Callable[[Future[Outcome]], None]:
        """A job is about to be started that has an entry without an id; returns what to call once it has ended."""
        started = _Started(call, job, seals, self._ledger.shared)
        with self._lock:
            self._writers.update(dict.fromkeys((target.real for target in call.targets), job.id))
        if seals or needs_note(call, job):  # else there is nothing to do before it ends
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
        if not self._deps.is_known(real, seal):
            with self._hashing():
                self._deps.hash(real, seal)

    @contextlib.contextmanager
    def _hashing(self) -> Iterator[None]:
        self._busy_since = time.monotonic()
        try:
            yield
        finally:
            self._busy_since = 0.0

    def _write(self, ended: _Ended, now: dict[str, bool]) -> None:
        call, job = ended.started.call, ended.started.job
        if not self._code_is_same(ended.started.shared, now):
            return
        contents = self._deps.contents(call, job, ended.started.seals, now)
        if contents is None:
            log.debug("%s leaves no receipt: what it read is not certain", call.name)
            return
        entry = self._ledger.entry(call, contents, ended.started.shared)
        if entry is None:
            return
        left = {target.key: Left(target.key, None, target.real, seal) for target, seal in _seals(call)}
        # the job's own directory is not hashed
        large = any(_is_large(left[target.key].place) for target in call.outs if target.key in left)
        if large and self._is_last(call, job):
            # what follows may take until the program has ended
            self._put_record(_record(ended, entry.id, left, call))
        for target in call.outs:
            if target.key in left and (hashed := self._hashed(left[target.key])) is not None:
                left[target.key] = hashed
        if ended.told.status == "COMPLETED":
            self._begun.forget(entry.id)
        if self._is_last(call, job):
            self._put_record(_record(ended, entry.id, left, call))
            with self._lock:
                for target in call.targets:
                    self._writers.pop(target.real, None)

    def _note_begun(self, started: _Started, now: dict[str, bool]) -> None:
        call, job = started.call, started.job
        if needs_note(call, job):
            contents = self._deps.contents(call, job, started.seals, now)
            if contents is not None:
                self._begun.note(call, job, contents, started.shared)

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
        try:
            with self._hashing():
                content = self._staging.held(Path(left.place), lenient=True)
        except InputError:
            return None
        return replace(left, content=content) if fingerprint(left.place) == left.seal else None

    def _code_is_same(self, shared: Shared | None, now: dict[str, bool]) -> bool:
        """Whether the code still is what the run began with: jobs import it from where it lies."""
        if shared is None:
            return True
        key = f"code {id(shared.around)}"  # one for all jobs of a batch
        if key not in now:
            # where there is none, the ledger says why there is no receipt
            now[key] = shared.around.exception() is not None or is_as_it_was(shared.around.result())
            if not now[key] and not self._said:
                self._said = True
                log.info(
                    "the project's code has changed since the run began: jobs that end now leave no receipts, "
                    "and a later `resume` would run them again"
                )
        return now[key]


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
