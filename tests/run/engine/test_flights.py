"""A job between its submission and its outcome."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest
from fake_cluster import call

from ray_decorator.core.errors import ClusterError, JobCancelledError, JobError
from ray_decorator.core.values.model import Job, Outcome
from ray_decorator.run.engine.flights import Flight, Resumed, Staged, is_finished, raise_first, settled


@pytest.fixture
def flight(tmp_path: Path) -> Flight:
    job = Job("id", "a", b"", (), (), False, "/", (), 0)
    return Flight(Staged(call("a", tmp_path), job), None, Future(), {})


def _raise(error: Exception) -> None:
    raise error


def test_it_settles_once(flight: Flight) -> None:
    flight.settle(Outcome("a", 1))
    flight.settle(Outcome("a", 2))
    flight.settle(ClusterError("gone"))
    assert flight.outcome.result().value == 1
    assert is_finished(flight.outcome)


def test_what_a_step_raises_is_the_outcome_s_error_or_ends_the_run(flight: Flight) -> None:
    flight.do(lambda: None)
    assert not flight.outcome.done() and not is_finished(flight.outcome)
    flight.do(lambda: _raise(KeyError("x")))
    assert isinstance(flight.outcome.result().error, KeyError)
    raise_first([flight.outcome, Future()])


def test_a_lost_cluster_ends_the_run(flight: Flight) -> None:
    flight.do(lambda: _raise(ClusterError("gone")))
    with pytest.raises(ClusterError, match="gone"):
        raise_first([Future(), flight.outcome])
    assert not is_finished(flight.outcome)


def test_a_cancelled_job_has_one_error_whatever_ended_it(flight: Flight) -> None:
    killed, asked = JobError("killed"), JobCancelledError("a was cancelled by Ray")
    assert flight.cancelled(asked) is asked
    error = flight.cancelled(killed)
    assert (type(error), str(error), error.__cause__) == (JobCancelledError, "a was cancelled", killed)
    flight.settle(Outcome("a", error=error))
    assert not is_finished(flight.outcome)


def test_an_outcome_that_is_there_already_is_finished(tmp_path: Path) -> None:
    resumed = Resumed(call("#0", tmp_path), Outcome("#0", 1, resumed=True))
    assert settled(resumed.outcome).result() is resumed.outcome
    assert is_finished(settled(resumed.outcome))
