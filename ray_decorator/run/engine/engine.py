"""Jobs on a cluster, from submission to outcome: what comes back is brought home, what was lost is started anew.

start(call, job) -> window -> cluster.submit -> receipt -> outs home -> Outcome

    the receipt says                       what follows
    outs, value or failure                 outs are pulled; the Outcome
    its node lacks the bundle or content   prepare, and submit again
    the store lost objects                 they are uploaded again, and the job submitted again (twice at most)
    its failure is retried                 its log comes home; the job is submitted again, as often as `Retries` allow
    there is none: the job crashed         its node, or the store, is asked what the job left; then it is retried
                                           as well, or the Outcome has the error
    there is none: it was cancelled        its node is asked; the Outcome has a JobCancelledError
    the cluster is lost                    every outcome that is not there yet is the ClusterError

All futures settle. Threads: `start` in the caller's, receipts in Ray's (which only hand them on), outs in a few of
our own, rescues in one of its own each.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from dataclasses import replace
from functools import partial
from typing import Any

from ...cluster.asking import unless
from ...cluster.cluster import Cluster
from ...core.errors import ClusterError, ClusterLostError, JobDiedError, JobError
from ...core.options.retries import NO_RETRIES, Retries
from ...core.progress import Progress
from ...core.serialization.failures import rebuilt
from ...core.values.model import Call, Job, Outcome, Receipt
from .daemon_pool import DaemonPool
from .flights import Flight, Staged, raise_first, settle
from .landing import Landing, Store
from .window import Window

log = logging.getLogger(__name__)

_LANDING_THREADS = 4
_MOST_REUPLOADS = 2
_CANCEL_SECONDS = 3.0
_LANDING_SECONDS = 30.0
_TICK = 0.05
_LEND_SECONDS = 1.0


class Engine:
    """The jobs of a session on its cluster. Its verbs may be called from any thread."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        progress: Progress,
        restage: Callable[[Staged, str], Staged],
        max_concurrent: int | None = None,
        explain: Callable[[BaseException], None] = lambda error: None,
        retries: Retries = NO_RETRIES,
    ) -> None:
        """``restage(staged, lacks)`` gives a job's node what it lacked, ``bundle`` or ``content``.

        ``explain`` adds to a job's error what only the driver knows.
        """
        self._cluster: Cluster | None = cluster
        self._store, self._progress, self._restage = store, progress, restage
        self._explain = explain
        self._home, self._retries = Landing(store, progress), retries
        self._window = Window(cluster.capacity, max_concurrent)
        self._function: tuple[bytes, Any] | None = None  # the last one, and the reference to it
        self._pending: dict[Future[Outcome], Future[Receipt]] = {}
        self._stopping: set[Future[Outcome]] = set()
        # of jobs that wait for an answer of the cluster itself: what comes of them if it is lost (None: its error)
        self._asking: dict[Future[Outcome], Outcome | None] = {}
        self._lock = threading.RLock()
        self._landing = DaemonPool(_LANDING_THREADS, "ray-s3-landing")
        self._lost: Future[ClusterError] = Future()

    def start(self, staged: Staged) -> Future[Outcome]:
        """Submit the job as soon as there is room for it; its outcome. Raises ClusterError where it is lost."""
        func = self._reference(staged.call)
        while not self._window.acquire_within(_LEND_SECONDS):
            self.lend()
        outcome: Future[Outcome] = Future()
        self._progress.expect("running", 1)
        outcome.add_done_callback(self._done)
        flight = Flight(staged, func, outcome, self._store.reuploads(staged.snapshots))
        try:
            self._submit(flight)
        except BaseException as exc:
            settle(outcome, exc)
            raise
        return outcome

    def lend(self) -> bool:
        """Inside of a job: let others have its CPUs until one of its own jobs is done, for a second at the most."""
        with self._lock:
            cluster, pending = self._cluster, list(self._pending.values())
        return cluster is not None and cluster.lend_cpus(pending, _LEND_SECONDS)

    def wait(self, outcomes: Collection[Future[Outcome]]) -> None:
        """Until all are there, or one met what ends the run, which is raised.

        Inside of a job, others have its CPUs meanwhile.
        """
        flying = set(outcomes)
        while (cluster := self._cluster) is not None and flying:
            with self._lock:
                pending = [self._pending[outcome] for outcome in flying if outcome in self._pending]
            if not cluster.lend_cpus(pending):
                break
            # the last ones are landing, or start anew
            flying = wait(flying, timeout=_TICK, return_when=FIRST_EXCEPTION).not_done
            raise_first(outcomes)
        wait(flying, return_when=FIRST_EXCEPTION)
        raise_first(outcomes)

    def stop(self, outcomes: Collection[Future[Outcome]]) -> None:
        """Cancel these jobs, kill those that do not heed it.

        What has finished meanwhile still comes home, and so does what the others have left: that is waited for.
        """
        with self._lock:
            self._stopping.update(outcome for outcome in outcomes if not outcome.done())
            cluster = self._cluster
        if cluster is None:  # lost: what it had still sent comes home
            landing = [outcome for outcome in outcomes if (one := self._pending.get(outcome)) and one.done()]
            wait(landing, timeout=_LANDING_SECONDS)
            return
        for force, seconds in ((False, _CANCEL_SECONDS), (True, _LANDING_SECONDS)):
            with self._lock:
                pending = [self._pending[outcome] for outcome in outcomes if outcome in self._pending]
            if not pending:
                return
            for one in pending:
                cluster.cancel(one, force=force)
            wait(outcomes, timeout=seconds)

    def lost(self, error: ClusterError) -> None:
        """There is no cluster any more: nothing can be asked of it, and nothing will come."""
        with self._lock:
            self._cluster = None
            waiting = dict.fromkeys(outcome for outcome, one in self._pending.items() if not one.done())
            waiting |= self._asking
            if not self._lost.done():
                self._lost.set_result(error)
        self._window.fail(error)
        for outcome, known in waiting.items():
            settle(outcome, known or error)

    def close(self) -> None:
        """No job is started any more; what has not come back is given up."""
        error = self._error() or ClusterError("the session with this cluster was closed")
        self.lost(error)
        self._landing.close()
        with self._lock:
            left = list(self._pending)
        for outcome in left:
            settle(outcome, error)

    def _reference(self, call: Call) -> Any:
        """A reference to the pickled function, which travels once however many jobs of a batch use it."""
        with self._lock:
            last = self._function
        if last is None or last[0] is not call.func:
            cluster = self._living()
            last = (call.func, unless(self._lost, lambda: cluster.put(call.func)))
            with self._lock:
                self._function = last
        return last[1]

    def _living(self) -> Cluster:
        with self._lock:
            if self._cluster is None:
                raise self._lost.result()
            return self._cluster

    def _error(self) -> ClusterError | None:
        return self._lost.result() if self._lost.done() else None

    @contextlib.contextmanager
    def _asked(self, flight: Flight, known: Outcome | None = None) -> Iterator[Cluster]:
        """The cluster, for as long as the block asks it about a job: nobody waits for that once it is lost.

        ``known`` is then the outcome: of a job that has said itself how it ended.
        """
        with self._lock:
            cluster = self._living()
            self._asking[flight.outcome] = known
        try:
            yield cluster
        finally:
            with self._lock:
                self._asking.pop(flight.outcome, None)

    def _submit(self, flight: Flight) -> None:
        with self._asked(flight) as cluster:
            pending = cluster.submit(flight.func, self._job(flight))
        with self._lock:
            self._pending[flight.outcome] = pending
            error, stopping = self._error(), flight.outcome in self._stopping
        if error is not None:  # it was lost while the job was submitted
            flight.settle(error)
        elif stopping:  # as above: nobody had it to cancel
            self._living().cancel(pending, force=True)
        pending.add_done_callback(
            lambda done: self._landing.submit(lambda: flight.do(lambda: self._land(flight, done)))
        )

    def _job(self, flight: Flight) -> Job:
        return self._retries.job(flight.staged.job, flight.attempt)

    def _land(self, flight: Flight, done: Future[Receipt]) -> None:
        """A receipt, or the news that there will be none, becomes an outcome, or another flight."""
        if flight.outcome.done():  # given up meanwhile: it comes too late
            return
        error = done.exception()
        if error is None:
            self._take(flight, done.result())
        elif isinstance(error, ClusterLostError):
            self.lost(error)
            flight.settle(error)
        else:
            self._begin_rescue(flight, error)

    def _take(self, flight: Flight, receipt: Receipt) -> None:
        error = rebuilt(receipt.failure) if receipt.failure is not None else None
        if error is not None:
            self._explain(error)
        stopping = self._is_stopping(flight)
        begins_anew = receipt.lacks or receipt.missing or receipt.replaced
        if receipt.left and error is not None:
            self._begin_rescue(flight, error, has_failed=True)
        elif stopping and (isinstance(error, KeyboardInterrupt) or begins_anew):
            self._finish(flight, receipt, flight.cancelled(error))  # so Ray cancels what runs
        elif receipt.fatal and error is not None:
            flight.settle(error)
        elif receipt.lacks:
            with self._asked(flight):
                staged = self._restage(flight.staged, receipt.lacks)
            self._submit(replace(flight, staged=staged))
        elif receipt.missing:
            self._upload_again(flight, receipt.missing)
        elif receipt.replaced and error is not None:
            self._again(flight, receipt, error)
        else:
            # how a job ends that was told to is no end of its work, whatever it made of that
            self._finish(flight, replace(receipt, told=None) if stopping else receipt, error)

    def _upload_again(self, flight: Flight, missing: tuple[str, ...]) -> None:
        if flight.reuploads >= _MOST_REUPLOADS:
            raise JobError(
                f"{flight.name}: the store lost objects again right after they were uploaded "
                f"({', '.join(missing[:3])}). Is a garbage collection running there? Or is it a directory that the "
                "job's node does not see? Then set s3_base_path to one that all nodes share, or to s3://bucket/prefix."
            )
        snapshots = flight.staged.snapshots
        self._store.reupload(snapshots, flight.since, missing, self._progress)
        since = self._store.reuploads(snapshots)
        self._submit(replace(flight, since=since, reuploads=flight.reuploads + 1))

    def _begin_rescue(self, flight: Flight, error: BaseException, *, has_failed: bool = False) -> None:
        error = flight.cancelled(error) if self._is_stopping(flight) else error
        known = flight.failed(error) if has_failed else None  # it has said so itself
        threading.Thread(target=self._rescue, args=(flight, error, known), daemon=True).start()

    def _rescue(self, flight: Flight, error: BaseException, known: Outcome | None) -> None:
        """A job that crashed, or was killed, has sent nothing; its node may still have what it has written."""
        receipt: Receipt | None = None
        again = isinstance(error, JobDiedError) and self._retries.another(flight.attempt)
        try:
            with self._asked(flight, known) as cluster:
                receipt = cluster.rescue(replace(self._job(flight), replaced=again))
            if receipt is None and not again:
                receipt = self._home.last_checkpoint(self._job(flight))
        except ClusterError as exc:
            return flight.settle(known or exc)
        except Exception as exc:
            log.warning("%s: could not look for what it left: %s", flight.name, exc)
        if receipt is not None and receipt.exit_code is not None and isinstance(error, JobDiedError):
            error = error.with_code(receipt.exit_code)
        end = partial(self._again if again else self._finish, flight, receipt or Receipt(), error)
        self._landing.submit(lambda: flight.do(end))

    def _again(self, flight: Flight, receipt: Receipt, error: BaseException) -> None:
        """The next attempt, unless the job was cancelled meanwhile."""
        if self._is_stopping(flight):
            self._finish(flight, receipt, flight.cancelled(error))
            return
        self._home.logs(flight.staged.call, receipt)
        log.warning("%s", self._retries.next_one(flight.name, flight.attempt, error))
        self._submit(replace(flight, attempt=flight.attempt + 1))

    def _finish(self, flight: Flight, receipt: Receipt, error: BaseException | None) -> None:
        staged = flight.staged
        if error is not None:
            error = self._retries.exhausted(error, flight.attempt)
        flight.settle(self._home.outcome(staged.call, staged.sent, flight.attempt, receipt, error))

    def _is_stopping(self, flight: Flight) -> bool:
        with self._lock:
            return flight.outcome in self._stopping

    def _done(self, outcome: Future[Outcome]) -> None:
        with self._lock:
            self._pending.pop(outcome, None)  # with the job's payload
            self._stopping.discard(outcome)
        self._window.release()
        self._progress.advance("running", 1)
