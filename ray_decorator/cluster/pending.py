"""A job in flight: what Ray answers becomes a receipt, or an error in our own words.

Imports ray inside functions only: every Hydra app on a machine imports the plugin, and Ray takes a second
to import.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, InvalidStateError
from typing import Any

from ..core.errors import (
    UNKNOWN_END,
    ClusterError,
    ClusterLostError,
    JobCancelledError,
    JobDiedError,
    JobError,
    text_of,
)
from ..core.serialization.failures import failure_of
from ..core.values.model import Job, Receipt
from ..node import entry
from .printed import Printed

_CLIENT_LOST = (
    "Ray Client has lost its connection: its server for this process, on the cluster's head, has ended or cannot be "
    "reached. See that the head node is up (`ray status` there) and has memory left, and run again for the jobs that "
    "had not finished."
)


class Pending(Future[Receipt]):
    """A job in flight, and the reference by which it can be cancelled. It settles whatever Ray answers.

    A ClusterLostError is the news that there is no cluster any more.

    Where the job's output has end marks, ``printed`` knows when these have come: the receipt waits for that.
    """

    def __init__(self, reference: Any, job: Job, printed: Printed | None, *, is_final: bool) -> None:
        """``is_final``: the job is not run again, whatever it may die of."""
        super().__init__()
        self.reference = reference
        self._printed = printed
        reference.future().add_done_callback(lambda done: self._settle(done, job, is_final))

    def _settle(self, done: Future[Any], job: Job, is_final: bool) -> None:
        with contextlib.suppress(InvalidStateError):
            try:
                error = done.exception()
                if error is None:
                    self._take(receipt_in(done.result()) or Receipt(), job)
                else:
                    self.set_exception(_job_error(error, job, is_final))
            except InvalidStateError:
                raise
            except BaseException as exc:  # a reply that cannot be read, or a future that was cancelled
                unreadable = JobError(f"{job.name} has ended, but: {text_of(exc)}")
                unreadable.__cause__ = exc
                self.set_exception(unreadable)

    def _take(self, receipt: Receipt, job: Job) -> None:
        def take() -> None:
            with contextlib.suppress(InvalidStateError):
                self.set_result(receipt)

        if receipt.end_marks and self._printed is not None:
            self._printed.when_whole(job.id, receipt.end_marks, take)
        else:
            self.set_result(receipt)


def receipt_in(reply: bytes) -> Receipt | None:
    """What `node.entry.enter` replied; None where a node has nothing to rescue."""
    decoded = entry.decode(reply)
    if isinstance(decoded, entry.Unprepared):
        return Receipt(lacks="bundle")
    if isinstance(decoded, entry.Retired):
        return Receipt(lacks="process")
    if isinstance(decoded, entry.Refused):
        return Receipt(failure=failure_of(ClusterError(decoded.text)), fatal=True)
    return decoded


def _job_error(error: BaseException, job: Job, is_final: bool) -> BaseException:
    import ray.exceptions as faults

    if isinstance(error, ConnectionError) and not isinstance(error, faults.RayError):  # Ray Client's own
        lost = ClusterLostError(_CLIENT_LOST)
        lost.__cause__ = error
        return lost
    made: JobError
    if isinstance(error, faults.TaskCancelledError):
        made = JobCancelledError(f"{job.name} was cancelled")
    elif isinstance(error, faults.OutOfMemoryError):
        cure = "Ask for more in ray_remote_kwargs.memory"
        made = JobDiedError(f"{job.name} ran out of memory: Ray killed it to save its node. {cure}")
    elif isinstance(error, faults.NodeDiedError | faults.LocalRayletDiedError | faults.ObjectLostError):
        cure = ". Set ray_remote_kwargs.max_retries to run it again elsewhere" if is_final else ""
        made = JobDiedError(f"{job.name} lost its node{cure}")
    elif isinstance(error, faults.WorkerCrashedError):
        cure = ". Set ray_remote_kwargs.max_retries to run it again" if is_final else ""
        made = JobDiedError(f"{job.name} crashed: {UNKNOWN_END}{cure}")
    else:
        made = JobError(f"{job.name} failed on Ray: {error}")
    made.__cause__ = error
    return made
