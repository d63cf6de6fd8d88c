"""Run calls on Ray: check them all, stage what they read, submit, and bring home what they wrote.

for each call:       read deps -> push (each distinct path once) -> Job -> submit
as receipts arrive:  pull outs home -> Outcome
in the end:          outcomes in the order of the calls
"""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import pickling
from .claims import Claims
from .cluster import Cluster, Connection
from .errors import InputError, JobCancelledError, JobError, RayS3Error, RemoteTraceback
from .model import Call, Dep, Failure, Job, Out, Outcome, PathSlot, Receipt
from .progress import Progress
from .settings import Settings
from .staging import Staging
from .worker import place_of

log = logging.getLogger(__name__)

_LANDING_THREADS = 4
_MAX_HEALINGS = 2
_CANCEL_SECONDS = 3.0

Landed = Callable[[int, Outcome], None]


def run_many(
    calls: Iterable[Call],
    settings: Settings,
    connection: Connection,
    progress: Progress,
    landed: Landed = lambda index, outcome: None,
) -> list[Outcome]:
    """Run the calls, and return an outcome for each, in their order.

    A sequence is checked as a whole before anything starts; from a generator, calls are checked and
    started one by one as it makes them. ``landed`` hears of each call once it is done, from any thread.
    Raises InputError for what is wrong with deps and outs, StoreError and ClusterError for what is
    wrong with the surroundings. What goes wrong in one call alone is the error of its outcome.
    """
    claims = Claims()
    staging = Staging(settings.store_url, progress)
    staging.store.check()  # one request, before gigabytes are hashed for a bucket that is not there
    if isinstance(calls, Sequence):
        _claim(claims, calls)
        staging.hash_all(calls)
        return _Flight(settings, staging, connection, progress, landed).run(calls)
    checked = _checked(claims, calls)
    return _Flight(settings, staging, connection, progress, landed).run(checked)


def _claim(claims: Claims, calls: Sequence[Call]) -> None:
    problems = [problem for call in calls for problem in claims.add(call)]
    if problems:
        raise InputError(tuple(problems))


def _checked(claims: Claims, calls: Iterable[Call]) -> Iterator[Call]:
    """One call behind: where all would write to one place, that is seen before the first one starts."""
    waiting: Call | None = None
    for call in calls:
        _claim(claims, [call])
        if waiting is not None:
            yield waiting
        waiting = call
    if waiting is not None:
        yield waiting


@dataclass(frozen=True, slots=True)
class _Sent:
    """A job that was submitted, and what the driver keeps to itself about it."""

    index: int
    call: Call
    job: Job
    func: Any
    sent: int
    since: Mapping[str, int]
    healings: int = 0


class _Flight:
    """The calls of one run, from the first submission to the last landing."""

    def __init__(
        self, settings: Settings, staging: Staging, connection: Connection, progress: Progress, landed: Landed
    ) -> None:
        self._settings = settings
        self._staging = staging
        self._connection = connection
        self._progress = progress
        self._landed = landed
        self._cluster: Cluster | None = None
        self._functions: dict[int, tuple[Any, Any]] = {}  # id -> the function, kept alive, its reference
        self._pending: dict[int, Future[Receipt]] = {}
        self._outcomes: dict[int, Future[Outcome]] = {}
        self._names: dict[int, str] = {}
        self._places = threading.Semaphore(settings.max_concurrent or 2**30)
        self._cwd = os.getcwd()
        self._sys_path = project_paths()
        self._left = False  # nobody waits for the rest any more
        self._pool = ThreadPoolExecutor(_LANDING_THREADS, thread_name_prefix="landing")

    def run(self, calls: Iterable[Call]) -> list[Outcome]:
        try:
            for index, call in enumerate(calls):
                self._places.acquire()
                self._outcomes[index], self._names[index] = Future(), call.name
                self._launch(index, call)
            if self._cluster is not None:
                self._cluster.lend_cpus(list(self._pending.values()))
            wait(self._outcomes.values())
        except BaseException:
            self._stop()
            raise
        finally:
            self._left = True
            self._pool.shutdown(wait=False, cancel_futures=True)
        return [self._outcomes[index].result() for index in sorted(self._outcomes)]

    def _launch(self, index: int, call: Call) -> None:
        function = self._function(call)
        self._progress.expect("running", 1)
        try:
            job, sent = self._job(call)
        except RayS3Error as exc:
            if index == 0:
                raise  # nothing runs yet: this is the run's own error
            self._places.release()
            self._done(index, Outcome(call.name, error=exc))
            return
        since = self._staging.healings(dep.value for dep in call.deps)
        self._submit(_Sent(index, call, job, function, sent, since))

    def _function(self, call: Call) -> Any:
        """A reference to the pickled function, which travels once however many calls are made of it."""
        if id(call.func) not in self._functions:
            data = pickling.dumps(call.func, f"the task function of {call.name}")
            self._functions[id(call.func)] = (call.func, self._ready().put(data))
        return self._functions[id(call.func)][1]

    def _ready(self) -> Cluster:
        if self._cluster is None:
            self._cluster = self._connection.wait()
        return self._cluster

    def _job(self, call: Call) -> tuple[Job, int]:
        payload = pickling.dumps(
            {"args": call.args, "kwargs": dict(call.kwargs)}, f"an argument of {call.name}"
        )
        targets = call.targets
        deps, sent = [], 0
        for dep in call.deps:
            content, bytes_sent = self._staging.push(dep.value)
            deps.append(Dep(dep.slot, dep.key, dep.value.name or "dep", content, _inside(dep.value, targets)))
            sent += bytes_sent
        job = Job(
            id=uuid.uuid4().hex,
            name=call.name,
            payload=payload,
            deps=tuple(deps),
            outs=tuple(self._out(call, targets, position) for position in range(len(targets))),
            store=self._staging.location,
            cwd=self._cwd,
            sys_path=self._sys_path,
        )
        return job, sent

    def _out(self, call: Call, targets: Sequence[PathSlot], position: int) -> Out:
        target = targets[position]
        is_workspace = target is call.workspace
        # a second attempt must not find the first one's files: no directory of the driver's then
        in_place = is_workspace and not self._settings.ray_remote_kwargs.get("max_retries")
        return Out(
            slot=target.slot,
            key=target.key,
            name=target.value.name or "out",
            inside=_inside(target.value, targets[:position]),
            place=place_of(target.value) if in_place else None,
            directory=target.value.is_dir(),
            on_failure=is_workspace,
        )

    def _submit(self, sent: _Sent) -> None:
        assert self._cluster is not None
        pending = self._cluster.submit(sent.func, sent.job)
        self._pending[sent.index] = pending
        pending.add_done_callback(lambda done: self._arrived(sent, done))

    def _arrived(self, sent: _Sent, done: Future[Receipt]) -> None:
        """Called in a thread of Ray's, which has other work."""
        if not self._left:
            self._pool.submit(self._land, sent, done)

    def _land(self, sent: _Sent, done: Future[Receipt]) -> None:
        """Runs in the pool: a receipt, or the news that there will be none, becomes an outcome."""
        try:
            outcome = self._outcome(sent, done)
        except Exception as exc:  # whatever it is, it is this call's, and the others go on
            outcome = Outcome(sent.call.name, error=exc)
        if outcome is not None:
            del self._pending[sent.index]  # with the job's payload
            self._places.release()
            self._done(sent.index, outcome)

    def _done(self, index: int, outcome: Outcome) -> None:
        try:
            self._landed(index, outcome)
        finally:
            self._progress.advance("running", 1)
            self._outcomes[index].set_result(outcome)

    def _outcome(self, sent: _Sent, done: Future[Receipt]) -> Outcome | None:
        error = done.exception()
        if error is None:
            receipt = done.result()
        else:
            receipt = Receipt() if isinstance(error, JobCancelledError) else self._rescued(sent)
        if receipt.missing:
            self._again(sent, receipt)
            return None
        if error is None and receipt.failure is not None:
            error = rebuilt(receipt.failure)
        received = self._bring_home(sent, receipt, error)
        for key in receipt.unwritten:
            log.warning("%s: its out %r was not written", sent.call.name, key)
        value = None
        if error is None and receipt.value is not None:
            value = pickling.loads(receipt.value)
        return Outcome(sent.call.name, value, error, receipt.seconds, sent.sent, received, receipt.node)

    def _bring_home(self, sent: _Sent, receipt: Receipt, error: BaseException | None) -> int:
        try:
            return sum(
                self._staging.pull(content, sent.call.targets[index].value)
                for index, content in receipt.outs.items()
            )
        except Exception as exc:
            if error is None:
                raise
            error.add_note(
                f"What it had written could not be brought home: {exc}"
            )  # the job's error matters more
            return 0

    def _rescued(self, sent: _Sent) -> Receipt:
        """A job that crashed has sent nothing; its node may still have what comes home in any case."""
        assert self._cluster is not None
        return self._cluster.rescue(sent.job) or Receipt()

    def _again(self, sent: _Sent, receipt: Receipt) -> None:
        if sent.healings >= _MAX_HEALINGS:
            raise JobError(
                f"{sent.call.name}: {self._staging.store.url} lost objects again right after they were "
                f"uploaded ({', '.join(receipt.missing[:3])}); is a garbage collection running there?"
            )
        self._staging.heal(sent.since, receipt.missing)
        since = self._staging.healings(dep.value for dep in sent.call.deps)
        self._submit(replace(sent, since=since, healings=sent.healings + 1))

    def _stop(self) -> None:
        """Cancel what runs, kill what does not heed it; what has finished meanwhile still lands."""
        if self._cluster is None:
            return
        for force in (False, True):
            waiting = dict(self._pending)
            for pending in waiting.values():
                self._cluster.cancel(pending, force=force)
            wait([self._outcomes[index] for index in waiting], timeout=_CANCEL_SECONDS)
        unfinished = [name for index, name in self._names.items() if not _finished(self._outcomes[index])]
        if unfinished:
            log.warning("Stopped. These did not finish: %s", ", ".join(unfinished))


def _finished(outcome: Future[Outcome]) -> bool:
    return outcome.done() and not isinstance(outcome.result().error, JobCancelledError)


def _inside(path: Path, outs: Sequence[PathSlot]) -> tuple[int, str] | None:
    real = Path(os.path.realpath(path))
    for index, out in enumerate(outs):
        other = Path(os.path.realpath(out.value))
        if real == other or other in real.parents:
            return index, os.path.relpath(real, other)
    return None


def rebuilt(failure: Failure) -> BaseException:
    """The exception that a worker met, with its traceback there as the cause."""
    error: BaseException
    try:
        error = pickling.loads(failure.pickled) if failure.pickled else JobError(failure.summary)
    except Exception:  # its class may not exist, or not be buildable, in this process
        error = JobError(failure.summary)
    error.__cause__ = RemoteTraceback(failure.traceback)
    return error


def project_paths() -> tuple[str, ...]:
    """The entries of sys.path that are the user's own: neither Python's library nor installed packages."""
    known = {os.path.realpath(path) for path in sysconfig.get_paths().values()}
    entries = dict.fromkeys(os.path.realpath(entry) for entry in sys.path)
    return tuple(
        e
        for e in entries
        if not any(e == path or e.startswith(path + os.sep) for path in known - {e})
        and e not in known
        and not e.endswith(".zip")
    )
