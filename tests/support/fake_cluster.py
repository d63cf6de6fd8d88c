"""A cluster of our own protocol, whose jobs end when a test says so: for races, and orders of events."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray_decorator.core.values.bundles import Bundle
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.model import Call, Job, PathSlot, Receipt
from ray_decorator.store.transfer import Pulled

SECONDS = 10.0


@dataclass
class FakeCluster:
    """``jobs`` are the submissions, in their order; a test settles the future of each."""

    slots: int = 4
    jobs: list[tuple[Job, Future[Receipt]]] = field(default_factory=list)
    cancelled: list[tuple[str, bool]] = field(default_factory=list)
    prepared: list[Bundle] = field(default_factory=list)
    left: dict[str, Receipt] = field(default_factory=dict)
    rescued: list[Job] = field(default_factory=list)
    on_submit: Callable[[Job, Future[Receipt]], None] = lambda job, future: None
    on_rescue: Callable[[], None] = lambda: None
    on_put: Callable[[], None] = lambda: None
    on_lend: Callable[[list[Future[Receipt]], float | None], bool] = lambda pending, seconds: False

    def __post_init__(self) -> None:
        self._changed = threading.Condition()

    def put(self, data: bytes) -> Any:
        self.on_put()
        return data

    def submit(self, func: Any, job: Job) -> Future[Receipt]:
        future: Future[Receipt] = Future()
        with self._changed:
            self.jobs.append((job, future))
            self._changed.notify_all()
        self.on_submit(job, future)
        return future

    def await_jobs(self, count: int) -> list[Future[Receipt]]:
        """The futures of all submissions, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.jobs) >= count, SECONDS), self.jobs
            return [future for _, future in self.jobs]

    def cancel(self, pending: Future[Receipt], *, force: bool) -> None:
        [name] = [job.name for job, future in self.jobs if future is pending]
        self.cancelled.append((name, force))

    def rescue(self, job: Job) -> Receipt | None:
        self.rescued.append(job)
        self.on_rescue()
        return None if job.replaced else self.left.get(job.name)

    def prepare(self, bundle: Bundle) -> None:
        self.prepared.append(bundle)

    def reaches_out(self) -> bool:
        return False

    def capacity(self) -> int:
        return self.slots

    def lend_cpus(self, pending: Iterable[Future[Receipt]], seconds: float | None = None) -> bool:
        return self.on_lend(list(pending), seconds)


@dataclass
class FakeStore:
    """The driver's side of a store, which remembers what it was asked for."""

    pulled: list[Path] = field(default_factory=list)
    aside: list[Path] = field(default_factory=list)
    uploads: list[tuple[str, ...]] = field(default_factory=list)
    error: Exception | None = None
    came: int = 0
    aside_error: Exception | None = None
    on_pull: Callable[[], None] = lambda: None
    generation: int = 0
    checkpoints: dict[str, dict[int, Content]] = field(default_factory=dict)

    def pull_all(self, wanted: Any, progress: Any) -> list[Pulled]:
        self.on_pull()
        self.pulled += [destination for _, destination in wanted]
        return [Pulled(10, self.error, self.came) for _ in wanted]

    def pull_aside(self, content: Content, destination: Path, progress: Any) -> Path:
        self.aside.append(destination)
        if self.aside_error is not None:
            raise self.aside_error
        return destination.with_name(f"{destination.name}.ray_s3")

    def fetch_command(self, content: Content, destination: Path) -> str:
        return f"ray-s3 fetch s3://bucket/{content.digest} {destination}"

    def checkpoint(self, job: Job) -> Mapping[int, Content]:
        return self.checkpoints.get(job.name, {})

    def reuploads(self, snapshots: Any) -> Mapping[str, int]:
        return {"generation": self.generation}

    def reupload(
        self, snapshots: Any, since: Mapping[str, int], missing: tuple[str, ...], progress: Any
    ) -> None:
        if since["generation"] == self.generation:
            self.generation += 1
            self.uploads.append(missing)


def call(name: str, tmp_path: Path) -> Call:
    """A call with one out and a workspace."""
    out = PathSlot.at((), "model.path", tmp_path / f"{name}.pkl")
    return Call(b"func", b"payload", (), (out,), name, PathSlot.at((), "hydra.sweep.subdir", tmp_path / name))


def value(result: Any, **more: Any) -> Receipt:
    """A receipt with a return value."""
    return Receipt(value=pickle.dumps(result), **more)
