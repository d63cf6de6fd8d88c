"""Ray: connect to it, hand it jobs, and say in our own words what went wrong with it.

The only module that imports ray, and only inside functions: every Hydra app on a machine imports the
plugin, and Ray takes a second to import.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from .errors import ClusterError, InputError, JobCancelledError, JobError
from .model import Job, Receipt
from .settings import Settings
from .worker import rescue, run_job

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 25.0
_PROBE_SECONDS = 5.0
_PRIVATE: Mapping[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
_OURS = {"num_returns", "name"}
_ONE_AT_A_TIME = threading.Lock()


class Connection:
    """A connection to Ray that is being made in the background, while its caller has other work.

    In a process that is connected already, it is there at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._error: BaseException | None = None
        self._done = threading.Event()
        if is_connected():
            self._done.set()
        else:
            threading.Thread(target=self._run, name="ray-connect", daemon=True).start()

    def wait(self) -> Cluster:
        """The cluster, once connected. Raises ClusterError if nobody answers in time."""
        address = self._settings.ray_address
        if not self._done.wait(None if address == "local" else _CONNECT_SECONDS):
            raise ClusterError(
                f"Ray at {address} took the connection but did not answer within "
                f"{_CONNECT_SECONDS:.0f} s. {_check_address(address)}"
            )
        if self._error is not None:
            raise self._error
        return Cluster(self._settings)

    def _run(self) -> None:
        try:
            _connect(self._settings)
        except BaseException as exc:  # raised again by wait(), in the thread that asked
            self._error = exc
        self._done.set()
        # Ray's processes ask Linux to be killed with their parent (PR_SET_PDEATHSIG), and to Linux the
        # parent is the thread that started them: this one has to stay for as long as the process does
        threading.Event().wait()


def is_connected() -> bool:
    """Whether this process is connected to a Ray, by us or by its own code."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _connect(settings: Settings) -> None:
    # Ray reads these when it is imported: folded lines lose jobs' output, and nothing phones home
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if not sys.stderr.isatty():
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    import ray

    with _ONE_AT_A_TIME:
        if not ray.is_initialized():
            logging.getLogger("ray").setLevel(logging.ERROR)  # its banner comes before its logging_level
            _init(settings)


def _init(settings: Settings) -> None:
    import ray

    address = settings.ray_address
    if address not in ("local", "auto"):
        _probe(address)
    with _translated(address):
        try:
            ray.init(address=address, **_init_arguments(settings, address))
        except ConnectionError:
            if address != "auto":
                raise
            log.warning("No Ray runs on this machine (ray_address is 'auto'): starting a private one")
            ray.init(address="local", **_init_arguments(settings, "local"))


def _init_arguments(settings: Settings, address: str) -> dict[str, Any]:
    defaults = {"logging_level": logging.ERROR, **(_PRIVATE if address == "local" else {})}
    return {**defaults, **settings.ray_init_kwargs}


def _probe(address: str) -> None:
    """Ray itself waits long for an address where nobody listens; a bare TCP connection tells at once."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_SECONDS).close()
    except OSError as exc:
        raise ClusterError(
            f"Nobody answers at ray_address {address} ({exc}). {_check_address(address)}"
        ) from exc


def _check_address(address: str) -> str:
    port = "Ray Client's, 10001 by default" if address.startswith("ray://") else "the GCS's, 6379 by default"
    return (
        f"Check host and port ({port}), that the head node is up (`ray status` there), and that no firewall "
        "stands between; if the cluster asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN. "
        "Leave ray_address unset to run on this machine."
    )


@contextlib.contextmanager
def _translated(address: str) -> Iterator[None]:
    try:
        yield
    except (ConnectionError, TimeoutError, RuntimeError) as exc:
        if "keyword argument" in str(exc):
            raise InputError(f"ray_init_kwargs are not accepted by ray.init: {exc}") from exc
        raise ClusterError(f"Cannot connect to Ray at {address}: {exc}. {_check_address(address)}") from exc
    except (TypeError, ValueError) as exc:
        raise InputError(f"ray_init_kwargs are not accepted by ray.init: {exc}") from exc


class Cluster:
    """A connected Ray, with the options that each job of this run gets."""

    def __init__(self, settings: Settings) -> None:
        import ray

        options = {"max_retries": 0, **settings.ray_remote_kwargs}
        if refused := sorted(_OURS & set(options)):
            raise InputError(f"ray_remote_kwargs may not set {', '.join(refused)}: each job has its own")
        try:
            self._run_job = ray.remote(**options)(run_job)
        except (TypeError, ValueError) as exc:
            raise InputError(f"ray_remote_kwargs are not accepted by ray.remote: {exc}") from exc
        self._options = options
        self._check_store_is_shared(settings)
        self._check_feasible()

    def put(self, data: bytes) -> Any:
        """A reference to bytes that travel once, however many jobs use them."""
        import ray

        return ray.put(data)

    def submit(self, func: Any, job: Job) -> Future[Receipt]:
        """Start a job; its future's exception is in the family of ours."""
        reference = self._run_job.options(name=job.name).remote(func, job)
        return _Pending(reference, job)

    def lend_cpus(self, pending: Iterable[Future[Receipt]]) -> None:
        """Inside a Ray task: wait for the jobs, and let others have this task's CPUs meanwhile.

        Ray does so only for a task that waits by Ray's own means. Without it, tasks that hold all CPUs would
        wait for ever for jobs of theirs that need one. Elsewhere this returns at once.
        """
        import ray

        if ray.get_runtime_context().worker.mode == ray.WORKER_MODE:
            references = [job.reference for job in pending if isinstance(job, _Pending)]
            ray.wait(references, num_returns=len(references), fetch_local=False)

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

        task = ray.remote(num_cpus=0, max_retries=0)(rescue)
        found = [
            task.options(
                name=f"{job.name} (rescue)",
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            ).remote(job)
            for node in self.nodes()
        ]
        for reference in found:
            try:
                receipt: Receipt | None = ray.get(reference, timeout=60)
            except ray.exceptions.RayError as exc:
                log.warning("%s: could not look for what it left on a node: %s", job.name, exc)
                continue
            if receipt is not None:
                return receipt
        return None

    def nodes(self) -> list[Mapping[str, Any]]:
        """The living nodes, as ``ray.nodes()`` describes them."""
        import ray

        nodes: list[Mapping[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        return [node for node in nodes if node["Alive"]]

    def _check_store_is_shared(self, settings: Settings) -> None:
        if not settings.store_is_default:
            return
        here = socket.gethostname()
        if others := sorted({n["NodeManagerHostname"] for n in self.nodes()} - {here}):
            raise InputError(
                f"Ray has nodes on other machines ({', '.join(others[:3])}), which cannot see this machine's "
                "disk. Set s3_base_path (or RAY_S3_BASE_PATH) to s3://bucket/prefix"
            )

    def _check_feasible(self) -> None:
        wanted, labels = _resources(self._options), self._options.get("label_selector") or {}
        nodes = self.nodes()
        if not nodes or any(_fits(wanted, node["Resources"]) and _labelled(labels, node) for node in nodes):
            return
        if labels and not any(_labelled(labels, node) for node in nodes):
            raise ClusterError(
                f"No node can ever serve a job: none has the labels {labels} of ray_remote_kwargs."
                "label_selector. Correct them, or start a node that has them."
            )
        lacking = {k: v for k, v in wanted.items() if all(n["Resources"].get(k, 0) < v for n in nodes)}
        most = {k: max(n["Resources"].get(k, 0) for n in nodes) for k in (lacking or wanted)}
        raise ClusterError(
            f"No node can ever serve {_shown(lacking or wanted)} for a job: the most that one node has is "
            f"{_shown(most)}. Ask for less in ray_remote_kwargs, or start a node that has it."
        )


class _Pending(Future[Receipt]):
    """A job in flight, and the reference by which it can be cancelled."""

    def __init__(self, reference: Any, job: Job) -> None:
        super().__init__()
        self.reference = reference
        reference.future().add_done_callback(lambda done: self._settle(done, job))

    def _settle(self, done: Future[Any], job: Job) -> None:
        error = done.exception()
        if error is None:
            self.set_result(done.result())
        else:
            self.set_exception(_job_error(error, job))


def _job_error(error: BaseException, job: Job) -> BaseException:
    import ray.exceptions as faults

    made: JobError
    if isinstance(error, faults.TaskCancelledError):
        made = JobCancelledError(f"{job.name} was cancelled")
        made.__cause__ = error
        return made
    if isinstance(error, faults.OutOfMemoryError):
        text = "ran out of memory: Ray killed it to save its node. Ask for more in ray_remote_kwargs.memory"
    elif isinstance(error, faults.NodeDiedError):
        text = "lost its node. Set ray_remote_kwargs.max_retries to run it again elsewhere"
    elif isinstance(error, faults.WorkerCrashedError):
        text = (
            "crashed: its process ended without a word (killed, os._exit or a segmentation fault). "
            "Set ray_remote_kwargs.max_retries to run it again"
        )
    else:
        text = f"failed on Ray: {error}"
    made = JobError(f"{job.name} {text}")
    made.__cause__ = error
    return made


def _resources(options: Mapping[str, Any]) -> dict[str, float]:
    """The resources that a job asks for, under the names of ``ray.nodes()``; one CPU unless told."""
    named = {
        "CPU": options.get("num_cpus", 1),
        "GPU": options.get("num_gpus"),
        "memory": options.get("memory"),
    }
    if accelerator := options.get("accelerator_type"):
        named[f"accelerator_type:{accelerator}"] = 0.001  # how Ray itself asks for it
    return {k: float(v) for k, v in {**named, **(options.get("resources") or {})}.items() if v}


def _labelled(labels: Mapping[str, str], node: Mapping[str, Any]) -> bool:
    """Whether a node has the labels; `in(…)`, `!…` and the like are left for Ray to judge."""
    plain = {key: value for key, value in labels.items() if not value.startswith(("!", "in("))}
    return all(node.get("Labels", {}).get(key) == value for key, value in plain.items())


def _fits(wanted: Mapping[str, float], held: Mapping[str, float]) -> bool:
    return all(held.get(name, 0) >= amount for name, amount in wanted.items())


def _shown(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={amount:g}" for name, amount in resources.items())
