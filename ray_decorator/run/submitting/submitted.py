"""A call that was submitted and that nobody waits for yet: a future that can be cancelled while its job runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ...core.values.model import Call, Outcome


class Submitted(Future[Any]):
    """Settles with what the call returns or raises. It counts as pending, and so can be cancelled, until then."""

    def __init__(self, call: Call, lend: Callable[[], bool] = lambda: False) -> None:
        """``lend`` waits for a moment by the cluster's own means; False where that is of no use."""
        super().__init__()
        self._lend = lend
        self.call = call
        self._job: tuple[Future[Outcome], Callable[[Future[Outcome]], None]] | None = None
        self._settling = threading.RLock()

    def started(self, outcome: Future[Outcome], cancel: Callable[[Future[Outcome]], None]) -> None:
        """The job was submitted; ``cancel`` stops it. It is stopped at once where the future was cancelled."""
        with self._settling:
            self._job = (outcome, cancel)
        outcome.add_done_callback(self._arrived)
        if self.cancelled():
            cancel(outcome)

    def result(self, timeout: float | None = None) -> Any:
        """As concurrent.futures has it. Inside of a job, others have its CPUs meanwhile."""
        self._wait(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As concurrent.futures has it. Inside of a job, others have its CPUs meanwhile."""
        self._wait(timeout)
        return super().exception(timeout)

    def _wait(self, timeout: float | None) -> None:
        until = None if timeout is None else time.monotonic() + timeout
        while not self.done() and (until is None or time.monotonic() < until) and self._lend():
            pass

    def cancel(self) -> bool:
        """Stop the job, if it has not ended. `result` raises concurrent.futures.CancelledError then."""
        if self.withdraw() is not None:
            assert self._job is not None
            self._job[1](self._job[0])
        return self.cancelled()

    def withdraw(self) -> Future[Outcome] | None:
        """Cancel the future alone; the outcome of the job that is to be stopped, if there is one."""
        with self._settling:
            if self.done():
                return None
            super().cancel()
            self.set_running_or_notify_cancel()
            return None if self._job is None else self._job[0]

    def running(self) -> bool:
        """Whether its job was submitted, and has not ended."""
        return self._job is not None and not self.done()

    def settle(self, value: Any = None, error: BaseException | None = None) -> None:
        """The call's value or exception; dropped where the future was cancelled or is settled."""
        with self._settling:
            if self.done():
                return
            if error is not None:
                self.set_exception(error)
            else:
                self.set_result(value)

    def _arrived(self, outcome: Future[Outcome]) -> None:
        error = outcome.exception()
        if error is None:
            done = outcome.result()
            self.settle(done.value, done.error)
        else:
            self.settle(error=error)
