"""The calls of one `Session.run`, from the first check to the last outcome."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.values.model import Call, Outcome
from .engine.flights import is_finished
from .submitting.claims import release_with

if TYPE_CHECKING:
    from .session import Session

log = logging.getLogger(__name__)


class Batch:
    """Claims, stages and starts calls, waits for them, and stops them where anything ends the run."""

    def __init__(self, session: Session, on_done: Callable[[int, Outcome], None]) -> None:
        self._session, self._on_done = session, on_done
        self._claimed: list[Call] = []
        self._outcomes: list[Future[Outcome]] = []
        self._names: list[str] = []
        self._told: set[int] = set()
        self._failure: BaseException | None = None  # what ends the run, whatever its calls are doing
        self._telling = threading.RLock()

    def run(self, calls: Iterable[Call]) -> list[Outcome]:
        """See `Session.run`."""
        try:
            if isinstance(calls, Sequence):
                self._claim(calls)
                self._start(calls)
            else:
                for call in self._one_behind(calls):
                    self._start([call])
            self._session.wait(self._outcomes)
        except BaseException as exc:
            if not self._outcomes and isinstance(exc, KeyboardInterrupt | SystemExit):
                log.warning("Stopped. No job was started")
            self._stop()
            raise
        finally:
            self._release()
            self._session.finished(self._outcomes)
            for index, outcome in enumerate(self._outcomes):  # those whose callbacks are still to come
                if outcome.done():
                    self._tell(index, outcome)
        return [outcome.result() for outcome in self._outcomes]

    def _release(self) -> None:
        """A call writes no more once its job has ended; one that was not started writes nothing."""
        for call, outcome in zip(self._claimed, self._outcomes, strict=False):
            release_with(outcome, self._session.claims, call)
        self._session.claims.release(self._claimed[len(self._outcomes) :])

    def _one_behind(self, calls: Iterable[Call]) -> Iterator[Call]:
        """Where all would write to one place, that is seen before the first one starts."""
        waiting: Call | None = None
        for call in calls:
            self._claim([call])
            if waiting is not None:
                yield waiting
            waiting = call
        if waiting is not None:
            yield waiting

    def _claim(self, calls: Sequence[Call]) -> None:
        if problems := self._session.claims.add(*calls):
            raise InputError(tuple(problems))
        self._claimed += calls

    def _start(self, calls: Sequence[Call]) -> None:
        for staged in self._session.stage(calls, first=not self._outcomes):
            assert not isinstance(staged, InputError)
            if self._failure is not None:
                raise self._failure
            index = len(self._outcomes)
            self._names.append(staged.call.name)
            outcome = self._session.start(staged)
            self._outcomes.append(outcome)
            outcome.add_done_callback(lambda done, index=index: self._tell(index, done))  # type: ignore[misc]

    def _tell(self, index: int, done: Future[Outcome]) -> None:
        with self._telling:
            if done.exception() is not None:
                self._failure = done.exception()
            elif index not in self._told:
                self._told.add(index)
                self._on_done(index, done.result())

    def _stop(self) -> None:
        if not self._outcomes:
            return
        self._session.stop(self._outcomes)
        names = self._names[: len(self._outcomes)]
        unfinished = [name for name, one in zip(names, self._outcomes, strict=True) if not is_finished(one)]
        if unfinished:
            log.warning("Stopped. These did not finish: %s", ", ".join(unfinished))
