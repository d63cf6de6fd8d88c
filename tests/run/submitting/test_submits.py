"""Calls that nobody waits for yet: gathered, claimed, started, and settled whatever happens. No Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any, cast

import pytest
from fake_cluster import call

from ray_decorator.core.errors import ClusterError, InputError, StoreError
from ray_decorator.core.progress import NoProgress
from ray_decorator.core.values.model import Call, Outcome
from ray_decorator.run.session import Session
from ray_decorator.run.submitting.claims import Claims
from ray_decorator.run.submitting.submits import Submits


class Progress(NoProgress):
    def show(self) -> None: ...

    def hide(self) -> None: ...


class FakeSession:
    """As much of a session as `Submits` uses; a job is done when a test says so."""

    def __init__(self) -> None:
        self.claims, self.progress = Claims(), Progress()
        self.jobs: dict[str, Future[Outcome]] = {}
        self.stopped: list[Future[Outcome]] = []
        self.on_stage: Callable[[Call], Any] = lambda call: call

    def stage(self, calls: Sequence[Call], *, isolate: bool) -> list[Any]:
        assert isolate
        return [self.on_stage(each) for each in calls]

    def start(self, staged: Call) -> Future[Outcome]:
        self.jobs[staged.name] = Future()
        if staged.name == "quick":
            self.jobs[staged.name].set_result(Outcome("quick", 1))
        return self.jobs[staged.name]

    def stop(self, outcomes: Sequence[Future[Outcome]]) -> None:
        self.stopped += outcomes

    def lend(self) -> bool:
        return False


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture
def submits(session: FakeSession) -> Submits:
    return Submits(cast(Session, session))


def test_a_call_is_started_and_its_future_settles(submits: Submits, tmp_path: Path) -> None:
    assert submits.submit(call("quick", tmp_path)).result(10) == 1


def test_what_is_wrong_with_one_call_is_its_own_error(
    submits: Submits, session: FakeSession, tmp_path: Path
) -> None:
    session.on_stage = lambda each: InputError("no such dep") if each.name == "wrong" else each
    wrong, quick = (
        submits.submit(call("wrong", tmp_path / "a")),
        submits.submit(call("quick", tmp_path / "b")),
    )
    with pytest.raises(InputError, match="no such dep"):
        wrong.result(10)
    assert quick.result(10) == 1


def test_a_store_that_fails_settles_all_that_were_to_go_there(
    submits: Submits, session: FakeSession, tmp_path: Path
) -> None:
    def fail(each: Call) -> Any:
        raise StoreError("the store is down")

    session.on_stage = fail
    for _ in range(2):  # and gives up their claims
        with pytest.raises(StoreError, match="the store is down"):
            submits.submit(call("quick", tmp_path)).result(10)
    session.on_stage = lambda each: each
    assert submits.submit(call("quick", tmp_path)).result(10) == 1


def test_all_that_is_not_done_can_be_cancelled(
    submits: Submits, session: FakeSession, tmp_path: Path
) -> None:
    slow = submits.submit(call("slow", tmp_path))
    deadline = time.monotonic() + 10
    while not slow.running() and time.monotonic() < deadline:
        time.sleep(0.001)
    submits.cancel()
    assert session.stopped == [session.jobs["slow"]]
    with pytest.raises(CancelledError):
        slow.result(10)


def test_after_the_end_none_is_taken(submits: Submits, tmp_path: Path) -> None:
    first = submits.submit(call("quick", tmp_path))
    assert set(submits.end()) <= {first} and first.result(10) == 1
    with pytest.raises(ClusterError, match="this process is ending, and takes no more calls"):
        submits.submit(call("quick", tmp_path)).result(10)
