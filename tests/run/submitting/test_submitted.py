"""A submitted call's future, as concurrent.futures knows futures."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future, wait
from pathlib import Path

import pytest
from fake_cluster import call

from ray_decorator.core.values.model import Outcome
from ray_decorator.run.submitting.submitted import Submitted


@pytest.fixture
def submitted(tmp_path: Path) -> Submitted:
    return Submitted(call("a", tmp_path))


def test_the_calls_value_or_exception(submitted: Submitted, tmp_path: Path) -> None:
    outcome: Future[Outcome] = Future()
    submitted.started(outcome, lambda _: None)
    assert submitted.running() and not submitted.done()
    outcome.set_result(Outcome("a", 42))
    assert submitted.result(0) == 42 and not submitted.running()
    failed = Submitted(call("b", tmp_path))
    failed.settle(error=KeyError("x"))
    assert isinstance(failed.exception(0), KeyError)


def test_one_whose_job_runs_can_be_cancelled(submitted: Submitted) -> None:
    outcome: Future[Outcome] = Future()
    stopped: list[Future[Outcome]] = []
    submitted.started(outcome, stopped.append)
    assert submitted.cancel() and submitted.cancelled() and stopped == [outcome]
    assert wait([submitted], timeout=0).done == {submitted}
    with pytest.raises(CancelledError):
        submitted.result(0)
    outcome.set_result(Outcome("a", 42))  # it comes too late
    assert submitted.cancelled()


def test_one_that_is_cancelled_before_its_job_starts_stops_it_then(submitted: Submitted) -> None:
    stopped: list[Future[Outcome]] = []
    assert submitted.cancel()
    outcome: Future[Outcome] = Future()
    submitted.started(outcome, stopped.append)
    assert stopped == [outcome]


def test_one_that_is_done_cannot(submitted: Submitted) -> None:
    submitted.settle(1)
    assert not submitted.cancel() and submitted.result(0) == 1
    submitted.settle(2)
    assert submitted.result(0) == 1
