"""A connected Ray: hand it jobs, and say in our own words what went wrong with them.

Imports ray inside functions only: every Hydra app on a machine imports the plugin, and Ray takes a second
to import.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from ..core.errors import InputError
from ..core.options.settings import Settings
from ..core.serialization import pickling
from ..core.values.bundles import Bundle
from ..core.values.inherited import Inherited
from ..core.values.model import Job, Receipt
from ..core.values.private import Private
from ..core.values.stores import Location
from ..node import entry
from ..node.own_source import zipped_source
from .asking import within
from .capacity import check_feasible, slots_of
from .every_node import Answer, ask_nodes, living_nodes
from .left_behind import LeftBehind
from .pending import Pending, receipt_in
from .printed import listen
from .ray_api import connection_mark, in_ray_task

log = logging.getLogger(__name__)

_SEARCH_SECONDS = 12.0
_BRING_SECONDS = 600.0
_CAPACITY_HOLDS = 10.0  # seconds
_LITTLE = 96 * 1024  # bytes; Ray sends an argument with its task up to 100 KiB


def check_options(settings: Settings) -> None:
    """See that Ray accepts the options of each job. Needs no connection; raises InputError."""
    _task(settings)


def check_store_is_shared(settings: Settings, nodes: Sequence[Mapping[str, Any]]) -> None:
    """See that a store is named where there are nodes on other machines; raises InputError."""
    if settings.store_is_default and (others := _other_hosts(nodes)):
        raise InputError(
            f"Ray has nodes on other machines ({', '.join(others[:3])}), which cannot see this "
            "machine's disk. Set s3_base_path (or RAY_S3_BASE_PATH) to s3://bucket/prefix"
        )


def _options(settings: Settings) -> dict[str, Any]:
    # one counter for all causes, which is the engine's
    return {**settings.ray_remote_kwargs, "max_retries": 0, "retry_exceptions": False}


def _task(settings: Settings) -> Any:
    import ray

    try:
        entry.travel_by_value()
        return ray.remote(**_options(settings))(entry.enter)
    except (TypeError, ValueError) as exc:
        raise InputError(f"ray_remote_kwargs are not accepted by ray.remote: {exc}") from exc


class RayCluster:
    """A connected Ray, with the options that each job of a session gets. It is a `Cluster`."""

    def __init__(
        self, settings: Settings, locate: Callable[[], Location], places: Sequence[str], broker: Any = None
    ) -> None:
        """``locate`` gives the store as a job that starts now needs it, ``broker`` new credentials later.

        ``places`` are local directories that a worker must see to be at home.
        """
        self._enter = _task(settings)
        self._mark = connection_mark()
        self._options = _options(settings)
        nodes = living_nodes()
        self._settings = settings
        self._others = _other_hosts(nodes)
        check_store_is_shared(settings, nodes)
        check_feasible(self._options, nodes)
        self._capacity = _Capacity(self._options, nodes)
        self._locate = locate
        self._broker = broker
        self._printed = listen()
        self._left_behind = LeftBehind()
        self._common: dict[str, Any] = {
            "home": entry.home(places),
            "runtime": b"",
            "bundle": None,
            "store": pickle.dumps(replace(locate(), credentials=None)),
        }
        self._reference = self._common_reference()

    def prepare(self, bundle: Bundle) -> None:
        """Let jobs that are submitted from now on run on other machines as well."""
        if self._settings.store_is_default:  # a job has found itself elsewhere: on a node that joined late?
            check_store_is_shared(self._settings, living_nodes())
        pickled = pickling.dumps(bundle, "what the jobs need")
        if self._common["bundle"] != pickled:
            self._common |= {"bundle": pickled, "runtime": zipped_source()}
            self._reference = self._common_reference()

    def reaches_out(self) -> bool:
        """Whether there are nodes that are surely not the driver's machine."""
        return bool(self._others)

    def capacity(self) -> int:
        """How many jobs can run at once, as far as it is known now."""
        return self._capacity.known()

    def put(self, data: bytes) -> Any:
        """What to give jobs in place of the data, which then travel once, however many jobs use them.

        On this machine alone, little data are given as they are: an object in Ray's store is lost with the raylet,
        and then Ray ends the driver's process before anybody can say why.
        """
        return self._given(data, len(data))

    def _common_reference(self) -> Any:
        return self._given(self._common, len(pickle.dumps(self._common)))

    def _given(self, data: Any, size: int) -> Any:
        import ray

        return data if size <= _LITTLE and not self._others else ray.put(data)

    def submit(self, func: Any, job: Job) -> Future[Receipt]:
        """Start a job; its future's exception is in the family of ours."""
        travels = replace(job, inherited=Inherited(), end_marks=self._printed is not None)
        data = pickling.dumps(travels, f"the job {job.name}")
        reference = self._enter.options(name=job.name).remote(
            self._reference, "run", func, data, self._sealed(job.inherited), self._broker
        )
        is_final = self._settings.retries.most == 0
        return Pending(reference, job, self._printed, is_final=is_final)

    def _sealed(self, inherited: Inherited) -> bytes:
        # apart from all else, and small: Ray keeps such an argument in memory, and writes it nowhere
        return pickle.dumps(Private(self._locate().credentials, self._settings.given(inherited)))

    def lend_cpus(self, pending: Iterable[Future[Receipt]], seconds: float | None = None) -> bool:
        """Inside a Ray task: wait for these jobs, and let others have this task's CPUs meanwhile.

        With ``seconds``, until any of them is done, and no longer than that.

        Ray does so only for a task that waits by Ray's own means. Without it, tasks that hold all CPUs would
        wait for ever for jobs of theirs that need one. Elsewhere this returns False at once.
        """
        import ray

        if not in_ray_task():
            return False
        if references := [job.reference for job in pending if isinstance(job, Pending)]:
            count = len(references) if seconds is None else 1
            ray.wait(references, num_returns=count, timeout=seconds, fetch_local=False)
        return True

    def cancel(self, pending: Future[Receipt], *, force: bool) -> None:
        """Ask a job to stop; with ``force``, kill its process."""
        import ray

        # a call of a connection that is gone could start a Ray on this machine
        if isinstance(pending, Pending) and connection_mark() == self._mark:
            with contextlib.suppress(ValueError):  # it has finished meanwhile
                ray.cancel(pending.reference, force=force)

    def rescue(self, job: Job) -> Receipt | None:
        """What a job that crashed or was killed left on its node, once it is in the store, or home.

        All living nodes look for it, for 10 s at the most; what it takes to bring what they find has a larger bound.
        """
        node = within(_SEARCH_SECONDS, lambda: self._left_behind.node_of(job))
        return None if node is None else within(_BRING_SECONDS, lambda: self._bring(job, node))

    def _bring(self, job: Job, node: str) -> Receipt | None:
        nodes = [each for each in living_nodes() if each["NodeID"] == node]
        data = pickling.dumps(replace(job, payload=b"", inherited=Inherited()), f"the job {job.name}")
        answers = ask_nodes(
            nodes,
            entry.enter,
            *(self._reference, "rescue", b"", data, self._sealed(Inherited()), self._broker),
            name=f"{job.name} (rescue)",
            seconds=_BRING_SECONDS,
        )
        return next((found for each in answers if (found := _rescued(each, job)) is not None), None)


def _other_hosts(nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({node["NodeManagerHostname"] for node in nodes} - {socket.gethostname()})


class _Capacity:
    """How many jobs the living nodes take at once; looked at anew in the background, since Ray may not answer."""

    def __init__(self, options: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> None:
        self._options = options
        self._slots = slots_of(options, nodes)
        self._looked = time.monotonic()
        self._lock = threading.Lock()

    def known(self) -> int:
        with self._lock:
            if time.monotonic() - self._looked > _CAPACITY_HOLDS:
                self._looked = time.monotonic()
                threading.Thread(target=self._look, name="ray-s3-capacity", daemon=True).start()
            return self._slots

    def _look(self) -> None:
        try:
            slots = slots_of(self._options, living_nodes())
        except Exception as exc:  # the cluster is lost, which the watch reports
            log.debug("could not count the nodes: %s", exc)
            return
        with self._lock:
            self._slots = slots


def _rescued(answer: Answer, job: Job) -> Receipt | None:
    receipt = receipt_in(answer.value) if answer.error is None else None
    problem = answer.error or (receipt.failure.summary if receipt and receipt.failure else "")
    if problem:
        log.warning("%s: what it left stays on node %s for now: %s", job.name, answer.name, problem)
        return None
    return None if receipt is None or receipt.lacks else receipt
