"""What jobs read in place is looked at before and after them, and their receipts are asked for."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trees import tree

from ray_decorator.core.errors import ClusterError
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.model import Call, Outcome, PathSlot
from ray_decorator.core.values.work import Entry
from ray_decorator.run.engine.flights import Staged
from ray_decorator.run.jobs import JobMaker
from ray_decorator.run.reads import Reads


class Heard:
    """Who writes receipts."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.ended: list[Future[Outcome]] = []

    def begin(self, call: Call, job: Any, seals: Any) -> Any:
        self.begun.append(seals)
        return self.ended.append


@pytest.fixture
def heard() -> Heard:
    return Heard()


def staged(tmp_path: Path, contents: dict[str, Content] | None = None, entry: Entry | None = None) -> Staged:
    dep = PathSlot.at((), "data", tree(tmp_path / "data", {"a": b"1"}))
    call = Call(b"", b"", (dep,), (), "#0")
    made = JobMaker("/", (), True, True).make(call, contents or {})
    return Staged(call, replace(made, entry=entry))


def test_a_change_while_a_job_reads_is_told(
    heard: Heard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outcome: Future[Outcome] = Future()
    reads = Reads(heard)  # type: ignore[arg-type]
    assert reads.start(staged(tmp_path), lambda one: outcome) is outcome
    (tmp_path / "data" / "a").write_bytes(b"changed")
    with caplog.at_level(logging.WARNING):
        outcome.set_result(Outcome("#0"))
        reads.finished([outcome])
    assert len(caplog.messages) == 1 and "was changed while #0 ran" in caplog.messages[0]
    assert heard.begun == []


def test_the_driver_writes_the_receipt_of_an_entry_without_an_id(heard: Heard, tmp_path: Path) -> None:
    outcome: Future[Outcome] = Future()
    Reads(heard).start(staged(tmp_path, entry=Entry("", "run", "app")), lambda one: outcome)  # type: ignore[arg-type]
    assert [list(seals) for seals in heard.begun] == [[str(tmp_path / "data")]] and heard.ended == []
    outcome.set_result(Outcome("#0"))
    assert heard.ended == [outcome]


def test_what_comes_through_the_store_is_not_looked_at(heard: Heard, tmp_path: Path) -> None:
    contents = {str(tmp_path / "data"): Content("0" * 32, 1, 1)}
    for entry, seen in ((Entry("a" * 64, "run", "app"), []), (Entry("", "run", "app"), [{}])):
        outcome: Future[Outcome] = Future()
        Reads(heard).start(staged(tmp_path, contents, entry), lambda one, o=outcome: o)  # type: ignore[arg-type, misc]
        assert heard.begun == seen


def test_a_job_that_cannot_be_submitted_reads_nothing(
    heard: Heard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def lost(one: Staged) -> Future[Outcome]:
        raise ClusterError("lost")

    with pytest.raises(ClusterError):
        Reads(heard).start(staged(tmp_path), lost)  # type: ignore[arg-type]
    assert caplog.messages == []
