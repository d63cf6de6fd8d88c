"""The calls of one `Session.run`: claimed, started, told of once, and stopped where anything ends the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import call

from ray_decorator.core.errors import ClusterError, InputError
from ray_decorator.core.values.model import Call, Outcome
from ray_decorator.run.batch import Batch
from ray_decorator.run.engine.flights import Staged
from ray_decorator.run.jobs import JobMaker
from ray_decorator.run.submitting.claims import Claims


class Steered:
    """As much of a Session as a batch asks for; ``on_wait`` is what happens while it waits."""

    def __init__(self) -> None:
        self.claims = Claims()
        self.started: list[tuple[str, Future[Outcome]]] = []
        self.stopped: list[str] = []
        self.read: list[Future[Outcome]] = []
        self.on_wait: Callable[[], None] = self.answer_all

    def stage(self, calls: Sequence[Call], *, first: bool = True) -> list[Staged]:
        maker = JobMaker("/", (), False, False)
        return [Staged(one, maker.make(one, {})) for one in calls]

    def start(self, staged: Staged) -> Future[Outcome]:
        self.started.append((staged.call.name, Future()))
        return self.started[-1][1]

    def wait(self, outcomes: Collection[Future[Outcome]]) -> None:
        self.on_wait()

    def stop(self, outcomes: Collection[Future[Outcome]]) -> None:
        self.stopped += [name for name, future in self.started if future in outcomes]

    def finished(self, outcomes: Iterable[Future[Outcome]]) -> None:
        self.read += outcomes

    def answer_all(self) -> None:
        for name, future in reversed(self.started):
            future.set_result(Outcome(name, value=name.upper()))


@pytest.fixture
def session() -> Steered:
    return Steered()


Told = list[tuple[int, str]]


def run(session: Steered, calls: Iterable[Call], told: Told | None = None) -> list[Outcome]:
    heard = told if told is not None else []
    batch = Batch(session, lambda index, outcome: heard.append((index, outcome.name)))  # type: ignore[arg-type]
    return batch.run(calls)


def test_outcomes_are_in_the_order_of_the_calls_and_each_is_told_once(
    session: Steered, tmp_path: Path
) -> None:
    told: Told = []
    outcomes = run(session, [call(name, tmp_path) for name in "abc"], told)
    assert [outcome.value for outcome in outcomes] == ["A", "B", "C"]
    assert told == [(2, "c"), (1, "b"), (0, "a")]
    assert len(session.read) == 3


def test_calls_that_would_write_to_one_path_are_refused_before_any_starts(
    session: Steered, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="would both write"):
        run(session, [call("a", tmp_path), call("a", tmp_path)])
    assert session.started == []


def test_from_a_generator_the_first_starts_once_the_second_is_seen(session: Steered, tmp_path: Path) -> None:
    started_when_made: list[int] = []

    def calls() -> Iterator[Call]:
        for name in "abc":
            started_when_made.append(len(session.started))
            yield call(name, tmp_path)

    assert [outcome.name for outcome in run(session, calls())] == ["a", "b", "c"]
    assert started_when_made == [0, 0, 1]


def test_of_a_generator_the_second_may_still_refuse_the_first(session: Steered, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="would both write"):
        run(session, iter([call("a", tmp_path), call("a", tmp_path)]))
    assert session.started == []


def test_what_was_claimed_is_free_again_however_the_run_ends(session: Steered, tmp_path: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    session.on_wait = interrupted
    with pytest.raises(KeyboardInterrupt):
        run(session, [call("a", tmp_path)])
    assert len(session.claims.add(call("a", tmp_path))) == 2  # its job may still write
    session.started[0][1].set_result(Outcome("a"))
    assert session.claims.add(call("a", tmp_path)) == []


def test_an_interrupt_stops_all_and_names_what_did_not_finish(
    session: Steered, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: Told = []

    def interrupted() -> None:
        session.started[0][1].set_result(Outcome("a", value=1))
        raise KeyboardInterrupt

    session.on_wait = interrupted
    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        run(session, [call(name, tmp_path) for name in "ab"], told)
    assert session.stopped == ["a", "b"]
    assert told == [(0, "a")]
    assert [record.getMessage() for record in caplog.records] == ["Stopped. These did not finish: b"]


def test_an_interrupt_before_the_first_job_says_so(
    session: Steered, caplog: pytest.LogCaptureFixture
) -> None:
    def calls() -> Iterator[Any]:
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        run(session, calls())
    assert [record.getMessage() for record in caplog.records] == ["Stopped. No job was started"]


def test_a_lost_cluster_lets_no_further_call_start(session: Steered, tmp_path: Path) -> None:
    def calls() -> Iterator[Any]:
        yield call("a", tmp_path)
        yield call("b", tmp_path)
        session.started[0][1].set_exception(ClusterError("gone"))
        yield call("c", tmp_path)

    with pytest.raises(ClusterError, match="gone"):
        run(session, calls())
    assert [name for name, _ in session.started] == ["a"]


def test_no_calls_are_no_outcomes(session: Steered) -> None:
    assert run(session, []) == []
