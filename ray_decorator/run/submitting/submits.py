"""The calls of one session that nobody waits for yet: a thread starts them, all that came meanwhile as one batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ...cluster.ray_api import in_ray_task
from ...core.errors import ClusterError, InputError
from ...core.values.model import Call, Outcome
from ..engine.flights import Resumed, Staged
from .claims import release_with
from .submitted import Submitted

if TYPE_CHECKING:
    from ..session import Session

_TICK = 0.05
_STOPPING_SECONDS = 40.0  # somewhat more than stopping takes: see `Engine.stop`


class Submits:
    """Its verbs may be called from any thread."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._unfinished: set[Submitted] = set()
        self._queue: SimpleQueue[Submitted | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping: set[Future[Outcome]] = set()
        self._ended = False

    def submit(self, call: Call) -> Submitted:
        """See `Session.submit`."""
        submitted = Submitted(call, self._lend)
        self._session.progress.show()
        submitted.add_done_callback(self._forget)
        with self._lock:
            if not self._ended:
                self._unfinished.add(submitted)
                self._queue.put(submitted)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="ray-s3-dispatch", daemon=True)
                    self._thread.start()
                return submitted
        submitted.settle(error=ClusterError("this process is ending, and takes no more calls"))
        return submitted

    def cancel(self) -> None:
        """Cancel all that is not done, and stop its jobs; wait for those that are being stopped already."""
        with self._lock:
            waiting, stopping = list(self._unfinished), list(self._stopping)
        jobs = [job for one in waiting if (job := one.withdraw()) is not None]
        self._note_stopping(jobs)
        self._session.stop(jobs)
        wait(stopping, timeout=_STOPPING_SECONDS)

    def end(self) -> list[Submitted]:
        """Take no more; what is not done yet."""
        with self._lock:
            self._ended = True
            self._queue.put(None)
            return list(self._unfinished)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group: list[Submitted | None] = [first]
            while not self._queue.empty():
                group.append(self._queue.get())
            waiting = [one for one in group if one is not None and not one.done()]
            try:
                self._start(waiting)
            except Exception as exc:
                for one in waiting:
                    one.settle(error=exc)
            if None in group:
                return

    def _start(self, waiting: Sequence[Submitted]) -> None:
        claims = self._session.claims
        claimed: list[Submitted] = []
        for one in waiting:
            if problems := claims.add(one.call):
                one.settle(error=InputError(tuple(problems)))
            else:
                claimed.append(one)
        try:
            staged = self._session.stage([one.call for one in claimed], isolate=True)
        except BaseException:
            claims.release([one.call for one in claimed])
            raise
        for one, ready in zip(claimed, staged, strict=True):
            self._start_one(one, ready)

    def _start_one(self, one: Submitted, ready: Staged | Resumed | InputError) -> None:
        claims = self._session.claims
        try:
            if isinstance(ready, InputError):
                raise ready
            if one.done():  # cancelled meanwhile
                claims.release([one.call])
                return
            outcome = self._session.start(ready)
        except Exception as exc:
            claims.release([one.call])
            one.settle(error=exc)
            return
        release_with(outcome, claims, one.call)
        one.started(outcome, self._stop_one)

    def _lend(self) -> bool:
        if not in_ray_task():
            return False
        if not self._session.lend():
            time.sleep(_TICK)  # its job is still to be started
        return True

    def _note_stopping(self, outcomes: Sequence[Future[Outcome]]) -> None:
        for outcome in outcomes:
            with self._lock:
                self._stopping.add(outcome)
            outcome.add_done_callback(self._stopped)

    def _stopped(self, outcome: Future[Outcome]) -> None:
        with self._lock:
            self._stopping.discard(outcome)

    def _stop_one(self, outcome: Future[Outcome]) -> None:
        self._note_stopping([outcome])
        stop = self._session.stop
        threading.Thread(target=stop, args=([outcome],), name="ray-s3-cancel", daemon=True).start()

    def _forget(self, submitted: Future[object]) -> None:
        with self._lock:
            self._unfinished.discard(submitted)
        self._session.progress.hide()
