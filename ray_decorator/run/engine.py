"""Run calls on Ray: check them all, stage what they read, submit, and bring home what they wrote.

for each call:       read deps -> push (each distinct path once) -> Job -> submit
as receipts arrive:  pull outs home -> Outcome
in the end:          outcomes in the order of the calls
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, InvalidStateError, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..cluster.cluster import Cluster, check_options
from ..cluster.connection import Connection
from ..cluster.credential_broker import Broker
from ..cluster.watch import Watch
from ..core import pickling
from ..core.errors import ClusterError, InputError, JobCancelledError, JobError, RayS3Error
from ..core.failures import rebuilt
from ..core.model import Call, Content, Job, Outcome, PathSlot, Receipt
from ..core.progress import Progress
from ..core.settings import Settings
from ..node.own_source import zipped_source
from ..project import driver
from .bundle import make_bundle
from .claims import Claims
from .jobs import JobMaker
from .staging import Staging

log = logging.getLogger(__name__)

_LANDING_THREADS = 4
_MAX_HEALINGS = 2
_CANCEL_SECONDS = 3.0
_LANDING_SECONDS = 30.0
_TICK = 0.05

Landed = Callable[[int, Outcome], None]


def run_many(
    calls: Iterable[Call],
    settings: Settings,
    connection: Connection,
    progress: Progress,
    landed: Landed = lambda index, outcome: None,
    left_out: Collection[Path] = (),
) -> list[Outcome]:
    """Run the calls, and return an outcome for each, in their order.

    A sequence is checked as a whole before anything starts; from a generator, calls are checked and
    started one by one as it makes them. ``landed`` hears of each call once it is done, from any thread.
    ``left_out`` are local paths, besides those of the calls, that are not part of the code.
    Raises InputError for what is wrong with deps and outs, StoreError and ClusterError for what is
    wrong with the surroundings. What goes wrong in one call alone is the error of its outcome.
    """
    claims = Claims()
    staging = Staging(settings.store_url, progress, settings.credentials)
    staging.store.check()  # one request, before gigabytes are hashed for a bucket that is not there
    if isinstance(calls, Sequence):
        _claim(claims, calls)
        staging.hash_all(calls)
        left_out = [*left_out, *(path.value for call in calls for path in (*call.deps, *call.targets))]
    else:
        calls = _checked(claims, calls)
    return _Flight(settings, staging, connection, progress, landed, left_out).run(calls)


def _claim(claims: Claims, calls: Sequence[Call]) -> None:
    if problems := claims.add(*calls):
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
        self,
        settings: Settings,
        staging: Staging,
        connection: Connection,
        progress: Progress,
        landed: Landed,
        left_out: Collection[Path],
    ) -> None:
        self._settings = settings
        self._staging = staging
        self._connection = connection
        self._progress = progress
        self._landed = landed
        self._left_out = left_out
        self._preparing = threading.Lock()
        self._cluster: Cluster | None = None
        self._broker: Broker | None = None
        self._watch: Watch | None = None
        self._error: BaseException | None = None  # what ends the run, whatever its calls are doing
        self._functions: dict[int, tuple[Any, Any]] = {}  # id -> the function, kept alive, its reference
        self._pending: dict[int, Future[Receipt]] = {}
        self._outcomes: dict[int, Future[Outcome]] = {}
        self._names: dict[int, str] = {}
        self._places = threading.Semaphore(settings.max_concurrent or 2**30)
        self._cwd = os.getcwd()
        # a second attempt must not find the first one's files: no directory of the driver's then
        in_place = not settings.ray_remote_kwargs.get("max_retries")
        self._jobs = JobMaker(staging, self._cwd, driver.project_paths(), in_place)
        self._started = False  # something has been submitted
        self._stopping = False  # what runs is being cancelled, and nothing is started any more
        self._left = False  # nobody waits for the rest any more
        self._pool = ThreadPoolExecutor(_LANDING_THREADS, thread_name_prefix="landing")

    def run(self, calls: Iterable[Call]) -> list[Outcome]:
        try:
            for index, call in enumerate(calls):
                self._places.acquire()
                if self._error is not None:
                    raise self._error
                self._outcomes[index], self._names[index] = Future(), call.name
                self._launch(index, call)
            self._wait()
        except BaseException:
            self._stop()
            raise
        finally:
            self._left = True
            self._pool.shutdown(wait=False, cancel_futures=True)
            if self._watch is not None:
                self._watch.close()
            if self._broker is not None and self._cluster is not None:
                self._broker.close()
        return [self._outcomes[index].result() for index in sorted(self._outcomes)]

    def _wait(self) -> None:
        """Until all calls have landed, or one met what stops them all."""
        while self._cluster is not None and any(not outcome.done() for outcome in self._outcomes.values()):
            if not self._cluster.lend_cpus(list(self._pending.values())):
                break
            time.sleep(_TICK)  # the last ones are landing, or start anew
        wait(self._outcomes.values(), return_when=FIRST_EXCEPTION)
        for outcome in self._outcomes.values():
            if outcome.done():
                outcome.result()

    def _lost(self, error: ClusterError) -> None:
        """There is no cluster any more: nothing can be asked of it, and nothing will come."""
        self._cluster, self._left, self._error = None, True, error
        for index, pending in list(self._pending.items()):
            if not pending.done():
                with contextlib.suppress(InvalidStateError):
                    self._outcomes[index].set_exception(error)
                self._places.release()

    def _launch(self, index: int, call: Call) -> None:
        function = self._function(call)
        self._progress.expect("running", 1)
        try:
            job, sent = self._jobs.make(call)
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
        if self._error is not None:
            raise self._error
        if self._cluster is None:
            check_options(self._settings)
            self._connection.wait()
            if self._staging.expires is not None:
                self._broker = Broker(self._staging.fresh)
            handle = self._broker.handle if self._broker else None
            self._cluster = Cluster(self._settings, lambda: self._staging.location, [self._cwd], handle)
            self._watch = Watch(self._settings.ray_address, self._lost)
            if self._cluster.reaches_out:
                self._prepare()
        return self._cluster

    def _prepare(self) -> None:
        """Jobs may go to machines that are not this one: what they need there is found out once."""
        assert self._cluster is not None
        with self._preparing:
            if not self._cluster.prepared:
                made = make_bundle(self._settings, self._staging, self._left_out)
                self._cluster.prepare(made, zipped_source())

    def _submit(self, sent: _Sent) -> None:
        assert self._cluster is not None
        pending = self._cluster.submit(sent.func, sent.job)
        self._pending[sent.index], self._started = pending, True
        pending.add_done_callback(lambda done: self._arrived(sent, done))

    def _arrived(self, sent: _Sent, done: Future[Receipt]) -> None:
        """Called in a thread of Ray's, which has other work."""
        if not self._left:
            self._pool.submit(self._land, sent, done)

    def _land(self, sent: _Sent, done: Future[Receipt]) -> None:
        """Runs in the pool: a receipt, or the news that there will be none, becomes an outcome."""
        try:
            outcome = self._outcome(sent, done)
        except _Fatal as exc:
            self._error = exc.error
            with contextlib.suppress(InvalidStateError):
                self._outcomes[sent.index].set_exception(exc.error)
            self._places.release()
            return
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
            with contextlib.suppress(InvalidStateError):  # the cluster was lost meanwhile
                self._outcomes[index].set_result(outcome)

    def _outcome(self, sent: _Sent, done: Future[Receipt]) -> Outcome | None:
        """None where the job was started anew."""
        receipt, error = self._received(sent, done)
        if receipt.fatal and error is not None:
            raise _Fatal(error)
        if receipt.unprepared or receipt.missing:
            if self._stopping:
                return Outcome(sent.call.name, error=_cancelled(sent, None), node=receipt.node)
            self._start_anew(sent, receipt)
            return None
        received, error = self._bring_home(sent, receipt, error)
        for key in receipt.unwritten:
            log.warning("%s: its out %r was not written", sent.call.name, key)
        value = None
        if error is None and receipt.value is not None:
            value = pickling.loads(receipt.value)
        return Outcome(sent.call.name, value, error, receipt.seconds, sent.sent, received, receipt.node)

    def _received(self, sent: _Sent, done: Future[Receipt]) -> tuple[Receipt, BaseException | None]:
        """What came of the job, and its exception. What we stop ourselves is cancelled, however it ends."""
        error = done.exception()
        if error is None:
            receipt = done.result()
            error = rebuilt(receipt.failure) if receipt.failure is not None else None
            if self._stopping and isinstance(error, KeyboardInterrupt):  # so Ray cancels what runs
                error = _cancelled(sent, error)
            return receipt, error
        if isinstance(error, JobCancelledError):
            return Receipt(), error
        if self._stopping:  # we have killed its process
            return Receipt(), _cancelled(sent, error)
        return self._rescued(sent), error

    def _bring_home(
        self, sent: _Sent, receipt: Receipt, error: BaseException | None
    ) -> tuple[int, BaseException | None]:
        """Each out on its own: one that cannot come keeps none of the others. The job's error is first."""
        received = 0
        for index, content in receipt.outs.items():
            target = sent.call.targets[index]
            try:
                received += self._staging.pull(content, target.value)
            except Exception as exc:
                problem = self._put_aside(target, content, exc)
                if error is None:
                    error = problem
                else:
                    error.add_note(f"What it had written could not be brought home: {problem}")
        return received, error

    def _put_aside(self, target: PathSlot, content: Content, problem: Exception) -> Exception:
        if not isinstance(problem, InputError):  # of the store, then
            return problem
        aside = self._staging.pull_aside(content, target.value)
        return InputError(f"outs key {target.key!r}: {problem}. What the job wrote is at {aside}")

    def _rescued(self, sent: _Sent) -> Receipt:
        """A job that crashed has sent nothing; its node may still have what comes home in any case."""
        cluster = self._cluster
        return (cluster.rescue(sent.job) if cluster is not None else None) or Receipt()

    def _start_anew(self, sent: _Sent, receipt: Receipt) -> None:
        """Give the job's node, or the store, what it lacked."""
        if receipt.unprepared:
            self._prepare()
            self._submit(sent)
            return
        if sent.healings >= _MAX_HEALINGS:
            raise JobError(
                f"{sent.call.name}: {self._staging.store.url} lost objects again right after they were "
                f"uploaded ({', '.join(receipt.missing[:3])}); is a garbage collection running there?"
            )
        self._staging.heal(sent.since, receipt.missing)
        since = self._staging.healings(dep.value for dep in sent.call.deps)
        self._submit(replace(sent, since=since, healings=sent.healings + 1))

    def _cancel(self, cluster: Cluster) -> None:
        for force in (False, True):
            waiting = dict(self._pending)
            for pending in waiting.values():
                cluster.cancel(pending, force=force)
            wait([self._outcomes[index] for index in waiting], timeout=_CANCEL_SECONDS)

    def _stop(self) -> None:
        """Cancel what runs, kill what does not heed it; what has finished meanwhile still lands."""
        self._stopping = True
        cluster = self._cluster
        if cluster is not None:
            self._cancel(cluster)
        else:  # lost: what it had still sent comes home
            landing = [self._outcomes[i] for i, pending in list(self._pending.items()) if pending.done()]
            wait(landing, timeout=_LANDING_SECONDS)
        unfinished = [name for index, name in self._names.items() if not _finished(self._outcomes[index])]
        if unfinished and self._started:
            log.warning("Stopped. These did not finish: %s", ", ".join(unfinished))


class _Fatal(Exception):
    """What one job met, and every other one would."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        super().__init__(str(error))


def _cancelled(sent: _Sent, cause: BaseException | None) -> JobCancelledError:
    error = JobCancelledError(f"{sent.call.name} was cancelled")
    error.__cause__ = cause
    return error


def _finished(outcome: Future[Outcome]) -> bool:
    if not outcome.done() or outcome.exception() is not None:
        return False
    return not isinstance(outcome.result().error, JobCancelledError)
