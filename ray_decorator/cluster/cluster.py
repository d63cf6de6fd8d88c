"""What the engine asks of a cluster. `ray_cluster` is the one that users have; tests of the engine have another."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, Protocol

from ..core.values.bundles import Bundle
from ..core.values.model import Job, Receipt


class Cluster(Protocol):
    """Runs jobs. All verbs may be called from any thread; none of them waits for a job."""

    def put(self, data: bytes) -> Any:
        """What jobs are given in place of these bytes; much of it travels once, however many jobs use it."""

    def submit(self, func: Any, job: Job) -> Future[Receipt]:
        """Start a job. ``func`` is a reference to the pickled task function.

        The future settles whatever happens, with a receipt or with an error of our family.
        """

    def cancel(self, pending: Future[Receipt], *, force: bool) -> None:
        """Ask a job to stop; with ``force``, kill its process."""

    def rescue(self, job: Job) -> Receipt | None:
        """What a job that crashed or was killed left on its node; None if nothing was found within a few seconds."""

    def prepare(self, bundle: Bundle) -> None:
        """Let jobs that are submitted from now on run on machines that are not the driver's."""

    def reaches_out(self) -> bool:
        """Whether there are nodes that are surely not the driver's machine."""

    def capacity(self) -> int:
        """How many jobs can run at once, as far as it is known now."""

    def lend_cpus(self, pending: Iterable[Future[Receipt]], seconds: float | None = None) -> bool:
        """Inside a job: wait for these, and let others have this job's CPUs meanwhile. Elsewhere False at once.

        With ``seconds``, until any of them is done, and no longer than that.
        """
