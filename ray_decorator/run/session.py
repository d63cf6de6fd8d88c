"""What a process has once for all its calls with the same settings: a Ray, a store, and the jobs between them.

    connection  (at once, in the background)      staging  (store, hash cache: when first needed)
        └── engine: cluster, broker, watch, farewell  (with the first job)

`Session.run` is for batches, `Session.submit` for calls that nobody waits for yet: a thread gathers these, so that
many of them are hashed and uploaded together.

Closing, in this order: no call is taken any more; submitted ones are waited for, or cancelled after Ctrl-C; the
watch ends (it would report a Ray that is leaving); the broker ends (no job needs it now); the engine gives up what
did not come back; no farewell is said any more. The connection is Ray's own, which leaves when the process ends.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from pathlib import Path

from ..cluster.asking import unless
from ..cluster.connecting.connection import Connection, leave_at_once
from ..cluster.connecting.farewell import Farewell
from ..cluster.connecting.watch import Watch
from ..cluster.credential_broker import Broker
from ..cluster.ray_api import connection_mark
from ..cluster.ray_cluster import RayCluster, check_options
from ..core.errors import ClusterError, InputError, RayS3Error, StoreDeniedError
from ..core.options.settings import Settings
from ..core.progress import Progress
from ..core.values.model import Call, Outcome
from ..project import driver
from . import interrupts
from .batch import Batch
from .data.bundle import Bundler
from .data.staging import Staging
from .engine.engine import Engine
from .engine.flights import Resumed, Staged, settled
from .ledger.beside import Beside
from .ledger.ledger import Ledger
from .preparing import Preparing
from .reads import Reads
from .shared_progress import SharedProgress
from .submitting.claims import Claims
from .submitting.submits import Submits
from .submitting.submitted import Submitted
from .while_connected import WhileConnected

log = logging.getLogger(__name__)

ShowProgress = Callable[[], contextlib.AbstractContextManager[Progress]]
OnDone = Callable[[int, Outcome], None]

_TICK = 0.05
_BUNDLE_HOLDS = 2.0  # seconds; code that changes between two batches travels anew

_claims = Claims()  # of all sessions: whatever the settings, two calls do not write to one place


class Session:
    """Runs calls. Its verbs may be called from any thread."""

    def __init__(self, settings: Settings, show_progress: ShowProgress) -> None:
        self.settings = settings
        self.connection = Connection(settings)
        self.claims = _claims
        self.progress = SharedProgress(show_progress)
        self._staging = Staging(
            settings.store_url,
            settings.credentials,
            settings.account,
            is_remote=bool(settings.store_name),
        )
        self._bundler = Bundler(settings, self._staging)
        self._ledger = Ledger(settings, self._staging)
        self._beside = Beside(self._ledger, self._staging, settings.retries.bound)
        self._reads = Reads(self._beside)
        self._start = driver.working_directory()
        self._lost: Future[ClusterError] = Future()
        connected = WhileConnected(self.progress, self._lost)
        self._preparing = Preparing(settings, self._staging, self._ledger, connected, self._start)
        self._left_out: set[Path] = set()
        self._bundle_made: float | None = None
        self._lock, self._making = threading.RLock(), threading.RLock()
        self._engine: Engine | None = None
        self._cluster: RayCluster | None = None
        self._broker: Broker | None = None
        self._watch: Watch | None = None
        self._farewell: Farewell | None = None
        self._mark = ""
        self._submits = Submits(self)
        self._runs = 0
        self._error: RayS3Error | None = None
        self._closed = False

    @property
    def usable(self) -> bool:
        """Whether further calls may go to it: its Ray was reached, is there, and is the one of this process."""
        if self._closed or self._error is not None:
            return False
        return not self._mark or connection_mark() in (None, self._mark)

    def run(
        self,
        calls: Iterable[Call],
        on_done: OnDone = lambda index, outcome: None,
        left_out: Collection[Path] = (),
    ) -> list[Outcome]:
        """Run the calls, and return an outcome for each, in their order.

        A sequence is checked as a whole before anything starts; from a generator, calls are checked and
        started one by one as it makes them. ``on_done`` hears of each call once it is done, from any thread.
        ``left_out`` are local paths, besides those of the calls, that are not part of the code.
        Raises InputError for what is wrong with deps and outs, StoreError and ClusterError for what is
        wrong with the surroundings. What goes wrong in one call alone is the error of its outcome.
        """
        self._left_out.update(left_out)
        with self._lock:
            self._runs += 1
        try:
            with self.progress.shown(), interrupts.stop_the_run():
                return Batch(self, on_done).run(calls)
        finally:
            with self._lock:
                self._runs -= 1
                is_last = self._runs == 0
            if is_last:
                self._beside.finish()
                self._ledger.end()

    def submit(self, call: Call) -> Submitted:
        """Run the call without waiting. What goes wrong with it, whatever it is, is the future's exception."""
        return self._submits.submit(call)

    def cancel_submitted(self) -> None:
        """Cancel all that was submitted and is not done; returns once that is so, within some seconds."""
        self._submits.cancel()

    def close(self, *, cancel: bool = False) -> None:
        """End the session: see above. ``cancel``: what was submitted is cancelled, not waited for."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        waiting = self._submits.end()
        try:
            while not cancel and (self._runs or not all(one.done() for one in waiting)):
                # what other threads of the program still run is waited for, as at home
                if not self.lend():
                    wait_for(waiting, timeout=_TICK)
                    time.sleep(_TICK if self._runs else 0)
        finally:
            self._submits.cancel()
            for part in (self._watch, self._broker, self._engine, self._farewell):
                if part is not None:
                    part.close()

    def stage(
        self, calls: Sequence[Call], *, isolate: bool = False, first: bool = True
    ) -> list[Staged | Resumed | InputError]:
        """Give the store what the calls read, as one batch, and make their jobs. Connects to Ray before it uploads.

        Raises InputError with all that is wrong with any dep; with ``isolate`` it stands in its call's place.
        ``first``: a batch begins, and the code that goes with its jobs is that of now.
        """
        try:
            self._staging.record_outs(calls)  # first, since what calls write is no code
            self._left_out.update(path.value for call in calls for path in (*call.targets, *call.deps))
            self._ledger.look(calls, self._left_out, first=first)
            if first and self._bundle_made is not None:
                self._prepare()
            return self._preparing.jobs(calls, self._ready, isolate=isolate)
        except StoreDeniedError as exc:
            self._error = exc  # the next session asks anew who we are
            raise

    def start(self, staged: Staged | Resumed) -> Future[Outcome]:
        """Submit a job. Waits for room on the cluster; raises ClusterError where that is lost."""
        if isinstance(staged, Resumed):
            return settled(staged.outcome)
        outcome = self._reads.start(staged, self._ready().start)
        entry, cluster = staged.job.entry, self._cluster
        if entry is not None and entry.id and cluster is not None and not cluster.reaches_out():
            outcome.add_done_callback(self._beside.written(entry.id))
        return outcome

    def finished(self, outcomes: Iterable[Future[Outcome]]) -> None:
        """See whether what these jobs read in place has changed meanwhile."""
        self._reads.finished(outcomes)

    def lend(self) -> bool:
        """Where this process is a job itself: let others have its CPUs for a moment. False where that is not so."""
        return self._engine is not None and self._engine.lend()

    def wait(self, outcomes: Collection[Future[Outcome]]) -> None:
        """As `Engine.wait`."""
        if self._engine is not None:
            self._engine.wait(outcomes)

    def stop(self, outcomes: Collection[Future[Outcome]]) -> None:
        """As `Engine.stop`."""
        if self._engine is not None:
            self._engine.stop(outcomes)

    def _ready(self) -> Engine:
        with self._making:
            if self._engine is None:
                try:
                    self._engine = self._made()
                except RayS3Error as exc:
                    self._error = exc
                    raise
            return self._engine

    def _made(self) -> Engine:
        check_options(self.settings)
        self._connect()
        self._watch = Watch(self.settings.ray_address, self._lose)
        self._farewell = Farewell()
        cluster, self._mark = unless(self._lost, self._new_cluster), connection_mark() or ""
        if self.settings.store_is_default and self.connection.is_ours:
            log.info(
                "Ray runs on this machine alone, and data stays where it is; for a cluster set ray_address and "
                "s3_base_path, or RAY_ADDRESS and RAY_S3_BASE_PATH"
            )
        limit, retries, explain = self.settings.max_concurrent, self.settings.retries, self._bundler.explain
        engine = Engine(cluster, self._staging, self.progress, self._restage, limit, explain, retries)
        self._cluster = cluster
        self._lost.add_done_callback(lambda done: engine.lost(done.result()))
        if cluster.reaches_out():
            self._prepare()
        else:
            watch = self._watch
            leave_at_once(lambda: not interrupts.came() and not watch.silent)
        return engine

    def _new_cluster(self) -> RayCluster:
        credentials = self._staging.location.credentials
        if credentials is not None and credentials.expires is not None:
            self._broker = Broker(self._staging.fresh)
        handle = self._broker.handle if self._broker else None
        return RayCluster(self.settings, lambda: self._staging.location, [self._start], handle)

    def _connect(self) -> None:
        for step in (self.connection.find, self.connection.wait):
            doing = self.connection.doing
            with contextlib.nullcontext() if doing is None else self.progress.doing(doing):
                step()
        interrupts.renew()

    def _lose(self, error: ClusterError) -> None:
        self._error = error
        if not self._lost.done():
            self._lost.set_result(error)

    def _prepare(self) -> None:
        """Find out what jobs need on machines that are not this one, if that may have changed."""
        cluster = self._cluster
        assert cluster is not None
        with self._making:
            if self._bundle_made is None or time.monotonic() - self._bundle_made > _BUNDLE_HOLDS:
                with self.progress.doing("collecting the project's code and the list of its packages"):
                    bundle = self._bundler.make(frozenset(self._left_out), self.progress)
                    unless(self._lost, lambda: cluster.prepare(bundle))
                self._bundle_made = time.monotonic()

    def _restage(self, staged: Staged, lacks: str) -> Staged:
        if lacks == "process":
            return staged
        if lacks == "bundle":
            self._prepare()
            return staged
        return self._preparing.again(staged)
