"""A job between its submission and its outcome, which settles once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any

from ...core.errors import ClusterError, JobCancelledError
from ...core.values.model import Call, Job, Outcome
from ...store.transfer import Snapshot


@dataclass(frozen=True, slots=True)
class Staged:
    """A job that can be submitted: ``snapshots`` are what it reads from the store, ``sent`` the bytes it took."""

    call: Call
    job: Job
    snapshots: tuple[Snapshot, ...] = ()
    sent: int = 0


@dataclass(frozen=True, slots=True)
class Resumed:
    """A call that an earlier run's job has done: all that it wrote is at home."""

    call: Call
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Flight:
    """One submission of a job. ``since`` tells which uploads it relies on; ``attempt`` counts from 1."""

    staged: Staged
    func: Any
    outcome: Future[Outcome]
    since: Mapping[str, int]
    reuploads: int = 0
    attempt: int = 1

    @property
    def name(self) -> str:
        """What the user sees of the job."""
        return self.staged.call.name

    def settle(self, result: Outcome | BaseException) -> None:
        """Give the outcome, or what ends the whole run."""
        settle(self.outcome, result)

    def do(self, step: Callable[[], None]) -> None:
        """Take a step on the job's way. Whatever it raises, the outcome settles."""
        try:
            step()
        except ClusterError as exc:  # lost meanwhile: the run's error
            self.settle(exc)
        except Exception as exc:  # whatever it is, it is this call's, and the others go on
            self.settle(self.failed(exc))

    def failed(self, error: BaseException) -> Outcome:
        """The outcome of a job of which there is this error, and nothing else."""
        return Outcome(self.name, error=error, attempts=self.attempt)

    def cancelled(self, cause: BaseException | None) -> JobCancelledError:
        """The error of a job that was stopped, in whatever way that ended it."""
        if isinstance(cause, JobCancelledError):
            return cause
        error = JobCancelledError(f"{self.name} was cancelled")
        error.__cause__ = cause
        return error


def is_finished(outcome: Future[Outcome]) -> bool:
    """Whether the job has run to its end, however it ended: it was neither cancelled nor lost."""
    if not outcome.done() or outcome.exception() is not None:
        return False
    return not isinstance(outcome.result().error, JobCancelledError)


def raise_first(outcomes: Collection[Future[Outcome]]) -> None:
    """Raise what ends the run, if one of them has met it."""
    for outcome in outcomes:
        if outcome.done():
            outcome.result()


def settled(result: Outcome) -> Future[Outcome]:
    """An outcome that is there already."""
    outcome: Future[Outcome] = Future()
    outcome.set_result(result)
    return outcome


def settle(outcome: Future[Outcome], result: Outcome | BaseException) -> None:
    """An outcome is settled once; what comes too late is dropped."""
    with contextlib.suppress(InvalidStateError):
        if isinstance(result, Outcome):
            outcome.set_result(result)
        else:
            outcome.set_exception(result)
