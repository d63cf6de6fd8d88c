"""A job in flight settles whatever Ray answers, and its receipt waits for what the job printed."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
import ray.exceptions as faults

from ray_decorator.cluster import printed
from ray_decorator.cluster.pending import Pending
from ray_decorator.cluster.printed import Printed
from ray_decorator.core.errors import ClusterLostError, JobDiedError, JobError
from ray_decorator.core.values.model import Job, Receipt

JOB = Job("a1", "#0 x=1", b"", (), (), False, "/", (), os.getuid())


def replied(marks: Printed | None, reply: bytes) -> Future[Receipt]:
    answer: Future[Any] = Future()
    pending = Pending(SimpleNamespace(future=lambda: answer), JOB, marks, is_final=True)
    answer.set_result(reply)
    return pending


def reply(receipt: Receipt) -> bytes:
    return pickle.dumps(("receipt", pickle.dumps(receipt)))


def test_a_receipt_waits_for_its_end_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printed, "_SECONDS", 3600.0)
    marks = Printed()
    pending = replied(marks, reply(Receipt(value=b"v", end_marks=1)))
    assert not pending.done()
    marks.came(["a1"])
    assert pending.result(0).value == b"v"


def test_a_silent_job_waits_for_nothing() -> None:
    assert replied(Printed(), reply(Receipt(value=b"v"))).result(0).value == b"v"
    assert replied(None, reply(Receipt(value=b"v", end_marks=1))).result(0).value == b"v"


def test_a_reply_that_cannot_be_read_is_the_jobs_error() -> None:
    error = replied(None, b"no pickle").exception(0)
    assert isinstance(error, JobError) and str(error).startswith("#0 x=1 has ended, but: A node's reply")


@pytest.mark.parametrize("is_final", [True, False])
@pytest.mark.parametrize(
    ("fault", "said", "cure"),
    [
        (faults.WorkerCrashedError(), "crashed: its process died without", "max_retries to run it again"),
        (faults.NodeDiedError("node"), "lost its node", "max_retries to run it again elsewhere"),
        (faults.OutOfMemoryError("oom"), "ran out of memory: Ray killed it", None),
    ],
    ids=["crash", "node", "memory"],
)
def test_a_job_that_died_may_be_run_again(
    fault: Exception, said: str, cure: str | None, is_final: bool
) -> None:
    answer: Future[Any] = Future()
    pending = Pending(SimpleNamespace(future=lambda: answer), JOB, None, is_final=is_final)
    answer.set_exception(fault)
    error = pending.exception(0)
    assert type(error) is JobDiedError and str(error).startswith(f"#0 x=1 {said}")
    assert cure is None or str(error).endswith(f"Set ray_remote_kwargs.{cure}") is is_final
    assert error.__cause__ is fault


def test_a_client_that_has_lost_its_server_has_lost_the_cluster() -> None:
    answer: Future[Any] = Future()
    pending = Pending(SimpleNamespace(future=lambda: answer), JOB, None, is_final=True)
    answer.set_exception(
        ConnectionError("Failed during this or a previous request. <_MultiThreadedRendezvous …")
    )
    error = pending.exception(0)
    assert type(error) is ClusterLostError and str(error).startswith("Ray Client has lost its connection: ")
