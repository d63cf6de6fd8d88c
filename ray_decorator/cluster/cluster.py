"""A connected Ray: hand it jobs, and say in our own words what went wrong with them.

Imports ray inside functions only: every Hydra app on a machine imports the plugin, and Ray takes a second
to import.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from ..core import pickling
from ..core.errors import ClusterError, InputError, JobCancelledError, JobError
from ..core.failures import failure_of
from ..core.model import Bundle, Job, Location, Receipt
from ..core.settings import Settings
from ..node import entry
from .capacity import check_feasible
from .every_node import living_nodes
from .ray_api import in_ray_task

log = logging.getLogger(__name__)

_OURS = {"num_returns", "name"}
_RESCUE_SECONDS = 60.0


def check_options(settings: Settings) -> None:
    """See that Ray accepts the options of each job. Needs no connection; raises InputError."""
    _task(settings)


def _options(settings: Settings) -> dict[str, Any]:
    return {"max_retries": 0, **settings.ray_remote_kwargs}


def _task(settings: Settings) -> Any:
    import ray
    import ray.cloudpickle

    if refused := sorted(_OURS & set(settings.ray_remote_kwargs)):
        raise InputError(f"ray_remote_kwargs may not set {', '.join(refused)}: each job has its own")
    try:
        entry.travel_by_value()
        return ray.remote(**_options(settings))(entry.enter)
    except (TypeError, ValueError) as exc:
        raise InputError(f"ray_remote_kwargs are not accepted by ray.remote: {exc}") from exc


class Cluster:
    """A connected Ray, with the options that each job of this run gets."""

    def __init__(
        self, settings: Settings, locate: Callable[[], Location], places: Sequence[str], broker: Any = None
    ) -> None:
        """``locate`` gives the store as a job that starts now needs it, ``broker`` new credentials later.

        ``places`` are local directories that a worker must see to be at home.
        """
        import ray

        self._enter = _task(settings)
        self._retries = int(_options(settings)["max_retries"] or 0)
        nodes = living_nodes()
        self._others = sorted({node["NodeManagerHostname"] for node in nodes} - {socket.gethostname()})
        self._check_store_is_shared(settings)
        check_feasible(_options(settings), nodes)
        self._locate = locate
        self._broker = broker
        self._common: dict[str, Any] = {
            "home": entry.home(places),
            "runtime": b"",
            "bundle": None,
            "store": pickle.dumps(replace(locate(), credentials=None)),
        }
        self._reference: Any = ray.put(self._common)

    @property
    def prepared(self) -> bool:
        """Whether jobs may run on machines that are not the driver's."""
        return self._common["bundle"] is not None

    def prepare(self, bundle: Bundle, runtime: bytes) -> None:
        """Let jobs that are submitted from now on run on other machines as well."""
        import ray

        self._common |= {"bundle": pickling.dumps(bundle, "what the jobs need"), "runtime": runtime}
        self._reference = ray.put(self._common)

    @property
    def reaches_out(self) -> bool:
        """Whether there are nodes that are surely not the driver's machine."""
        return bool(self._others)

    def put(self, data: bytes) -> Any:
        """A reference to bytes that travel once, however many jobs use them."""
        import ray

        return ray.put(data)

    def submit(self, func: Any, job: Job) -> Future[Receipt]:
        """Start a job; its future's exception is in the family of ours."""
        data = pickling.dumps(job, f"the job {job.name}")
        reference = self._enter.options(name=job.name).remote(
            self._reference, "run", func, data, self._credentials(), self._broker
        )
        return _Pending(reference, job, self._retries)

    def _credentials(self) -> bytes:
        # apart from all else, and small: Ray keeps such an argument in memory, and writes it nowhere
        return pickle.dumps(self._locate().credentials)

    def lend_cpus(self, pending: Iterable[Future[Receipt]]) -> bool:
        """Inside a Ray task: wait for these jobs, and let others have this task's CPUs meanwhile.

        Ray does so only for a task that waits by Ray's own means. Without it, tasks that hold all CPUs would
        wait for ever for jobs of theirs that need one. Elsewhere this returns False at once.
        """
        import ray

        if not in_ray_task():
            return False
        if references := [job.reference for job in pending if isinstance(job, _Pending)]:
            ray.wait(references, num_returns=len(references), fetch_local=False)
        return True

    def cancel(self, pending: Future[Receipt], *, force: bool) -> None:
        """Ask a job to stop; with ``force``, kill its process."""
        import ray

        if isinstance(pending, _Pending):
            with contextlib.suppress(ValueError):  # it has finished meanwhile
                ray.cancel(pending.reference, force=force)

    def rescue(self, job: Job) -> Receipt | None:
        """What a job that crashed left on its node: each living node looks for it."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        task = ray.remote(num_cpus=0, max_retries=0)(entry.enter)
        data = pickling.dumps(job, f"the job {job.name}")
        found = [
            task.options(
                name=f"{job.name} (rescue)",
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            ).remote(self._reference, "rescue", job.id.encode(), data, self._credentials(), self._broker)
            for node in living_nodes()
        ]
        answered, silent = ray.wait(found, num_returns=len(found), timeout=_RESCUE_SECONDS)
        for reference in silent:
            ray.cancel(reference, force=True)
        for reference in answered:
            try:
                receipt = _receipt(ray.get(reference))
            except ray.exceptions.RayError as exc:
                log.warning("%s: could not look for what it left on a node: %s", job.name, exc)
                continue
            if receipt is not None and receipt.failure is not None:
                log.warning("%s: could not look for what it left: %s", job.name, receipt.failure.summary)
            elif receipt is not None and not receipt.unprepared:
                return receipt
        return None

    def _check_store_is_shared(self, settings: Settings) -> None:
        if settings.store_is_default and self._others:
            raise InputError(
                f"Ray has nodes on other machines ({', '.join(self._others[:3])}), which cannot see this "
                "machine's disk. Set s3_base_path (or RAY_S3_BASE_PATH) to s3://bucket/prefix"
            )


class _Pending(Future[Receipt]):
    """A job in flight, and the reference by which it can be cancelled."""

    def __init__(self, reference: Any, job: Job, retries: int) -> None:
        super().__init__()
        self.reference = reference
        reference.future().add_done_callback(lambda done: self._settle(done, job, retries))

    def _settle(self, done: Future[Any], job: Job, retries: int) -> None:
        error = done.exception()
        if error is None:
            self.set_result(_receipt(done.result()) or Receipt())
        else:
            self.set_exception(_job_error(error, job, retries))


def _receipt(reply: bytes) -> Receipt | None:
    decoded = entry.decode(reply)
    if isinstance(decoded, entry.Unprepared):
        return Receipt(unprepared=True)
    if isinstance(decoded, entry.Refused):
        return Receipt(failure=failure_of(ClusterError(decoded.text)), fatal=True)
    return decoded


def _job_error(error: BaseException, job: Job, retries: int) -> BaseException:
    import ray.exceptions as faults

    made: JobError
    if isinstance(error, faults.TaskCancelledError):
        made = JobCancelledError(f"{job.name} was cancelled")
        made.__cause__ = error
        return made
    if isinstance(error, faults.OutOfMemoryError):
        text = "ran out of memory: Ray killed it to save its node. Ask for more in ray_remote_kwargs.memory"
    elif isinstance(error, faults.NodeDiedError):
        text = f"lost its node. {_about_retries(retries, 'to run it again elsewhere')}"
    elif isinstance(error, faults.WorkerCrashedError):
        text = (
            "crashed: its process ended without a word (killed, os._exit or a segmentation fault). "
            f"{_about_retries(retries, 'to run it again')}"
        )
    else:
        text = f"failed on Ray: {error}"
    made = JobError(f"{job.name} {text}")
    made.__cause__ = error
    return made


def _about_retries(retries: int, purpose: str) -> str:
    if retries:
        return f"It was run again as often as ray_remote_kwargs.max_retries ({retries}) says"
    return f"Set ray_remote_kwargs.max_retries {purpose}"
