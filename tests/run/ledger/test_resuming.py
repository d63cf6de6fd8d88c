"""Which calls are brought home from what receipts say, and which run again."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trees import read, sent, tree

from ray_decorator.content.looking.fingerprint import fingerprint
from ray_decorator.content.manifest import md5, object_key
from ray_decorator.core.errors import HomeError, InputError, JobError
from ray_decorator.core.options.settings import Resume
from ray_decorator.core.progress import NoProgress
from ray_decorator.core.records.records import MOST_BYTES, JobRecord, Left, dump, job_key
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.model import Call, Outcome, PathSlot
from ray_decorator.core.values.returned import value_of
from ray_decorator.core.values.work import Entry
from ray_decorator.run.data.staging import Staging
from ray_decorator.run.ledger.resuming import Resuming, read_receipt

ID = "a" * 64
RECORD = JobRecord(
    ID, "run", "app", ("x=1",), "COMPLETED", value_of(0.5), seconds=2.0, node="host/1", ended=1.0
)


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Staging:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Staging((tmp_path / "store").as_uri(), "driver")


@pytest.fixture
def content(tmp_path: Path, staging: Staging) -> Content:
    return sent(tree(tmp_path / "made", {"a": b"1", "b": b"2"}), staging.open(), staging.hashes).content


@pytest.fixture
def call(tmp_path: Path) -> Call:
    out = PathSlot.at(("model",), "model", tmp_path / "home" / "model")
    workspace = PathSlot.at((), "hydra.sweep.subdir", tmp_path / "home" / "0")
    return Call(b"", b"", (), (out,), "#0 x=1", workspace)


def put(staging: Staging, record: JobRecord | bytes) -> None:
    data = record if isinstance(record, bytes) else dump(record)
    staging.open().put(job_key(ID), data or b"")


def take(staging: Staging, call: Call, resume: Resume = "finished", **before: str) -> Outcome | None:
    entry = Entry(ID, "later", "app", ("x=1",), before)
    return Resuming(staging, NoProgress(), resume).take([call, call], [entry, None]).get(0)


def said(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(caplog.messages)


@pytest.fixture(autouse=True)
def talk(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_outs_and_value_come_home(staging: Staging, content: Content, call: Call, tmp_path: Path) -> None:
    put(
        staging,
        replace(RECORD, outs=(Left("model", content),), workspace=Left("hydra.sweep.subdir", content)),
    )
    outcome = take(staging, call)
    assert outcome is not None and outcome.resumed
    assert (outcome.value, outcome.error, outcome.seconds, outcome.node) == (0.5, None, 2.0, "host/1")
    assert outcome.received == 4
    for name in ("model", "0"):
        assert read(tmp_path / "home" / name) == {"a": b"1", "b": b"2"}


def test_without_a_receipt_a_call_runs(staging: Staging, call: Call) -> None:
    assert take(staging, call) is None


@pytest.mark.parametrize(
    "data", [b"{}", b"x" * (MOST_BYTES + 1), dump(replace(RECORD, id="b" * 64)) or b""], ids=len
)
def test_what_is_no_receipt_counts_as_none(
    data: bytes, staging: Staging, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    put(staging, data)
    assert take(staging, call) is None
    assert f"{job_key(ID)} is no receipt, so its job runs again" in said(caplog)


@pytest.mark.parametrize("data", [None, b"9", b"more"], ids=["gone", "spoilt", "of another size"])
@pytest.mark.parametrize("which", ["manifest", "file"])
def test_one_whose_objects_are_gone_or_spoilt_counts_as_none(
    which: str,
    data: bytes | None,
    staging: Staging,
    content: Content,
    call: Call,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    put(staging, replace(RECORD, outs=(Left("model", content),)))
    key = object_key(content.digest if which == "manifest" else md5(b"2").hexdigest())
    staging.open().delete(key)
    if data is not None:
        staging.open().put(key, data)
    assert take(staging, call) is None
    assert "#0 x=1 runs again: " in said(caplog)
    assert not (tmp_path / "home" / "model" / "b").exists(), "nothing in place but what it was"


def test_a_value_that_json_cannot_hold_runs_again(
    staging: Staging, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    put(staging, replace(RECORD, value=value_of({1, 2})))
    assert take(staging, call) is None
    assert "#0 x=1 runs again: JSON cannot hold what the task returned: a builtins.set" in said(caplog)


def test_one_that_failed_stays_failed_unless_that_is_asked_for(staging: Staging, call: Call) -> None:
    put(
        staging,
        replace(RECORD, status="FAILED", error="ValueError: no", traceback="Traceback …\nValueError: no\n"),
    )
    outcome = take(staging, call)
    assert outcome is not None and isinstance(outcome.error, JobError) and outcome.resumed
    assert str(outcome.error) == "ValueError: no" and "Traceback …" in str(outcome.error.__cause__)
    assert "hydra.launcher.resume=failed does that" in outcome.error.__notes__[0]
    assert take(staging, call, "failed") is None


@pytest.mark.parametrize(
    ("now", "same"),
    [("0" * 32, True), ("1" * 32, True), ("2" * 32, False)],
    ids=["before", "after", "another"],
)
def test_what_a_job_reads_and_writes_may_be_as_before_or_after_it(
    now: str, same: bool, staging: Staging, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "after").write_bytes(b"after")
    after = sent(tmp_path / "after", staging.open(), staging.hashes).content
    record = replace(RECORD, outs=(Left("model", after),), before={"model": "0" * 32})
    put(staging, record)
    assert (take(staging, call, model=after.digest if now[0] == "1" else now) is not None) is same


def test_outs_of_another_name_are_not_taken(staging: Staging, content: Content, call: Call) -> None:
    put(staging, replace(RECORD, outs=(Left("other", content),)))
    assert take(staging, call) is None


class TestPlaces:
    """A directory that the job has worked in is where it was left."""

    @pytest.fixture
    def left(self, tmp_path: Path, staging: Staging) -> Left:
        place = tree(tmp_path / "earlier" / "0", {"app.log": b"log"})
        staging.record_outs([Call(b"", b"", (), (PathSlot.at((), "w", place),), "#0")])
        return Left("hydra.sweep.subdir", None, str(place), fingerprint(str(place)))

    def test_it_is_copied_and_the_receipt_follows(
        self, staging: Staging, call: Call, left: Left, tmp_path: Path
    ) -> None:
        put(staging, replace(RECORD, workspace=left))
        assert take(staging, call) is not None
        assert read(tmp_path / "home" / "0") == {"app.log": b"log"} == read(Path(left.place))
        moved = read_receipt(staging.open(), ID)
        assert moved is not None and moved.workspace is not None
        assert moved.workspace.place == str(tmp_path / "home" / "0")
        staging.record_outs([call])
        (Path(left.place) / "app.log").unlink()
        assert take(staging, call) is not None

    def test_one_that_has_changed_runs_again(
        self, staging: Staging, call: Call, left: Left, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(staging, replace(RECORD, workspace=left))
        (Path(left.place) / "app.log").write_bytes(b"other")
        assert take(staging, call) is None
        assert f"#0 x=1 runs again: what it left at {left.place} is not as it was" in said(caplog)

    def test_what_is_in_its_way_is_an_error(
        self, staging: Staging, call: Call, left: Left, tmp_path: Path
    ) -> None:
        put(staging, replace(RECORD, workspace=left))
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "0").write_text("a file")
        outcome = take(staging, call)
        assert outcome is not None and isinstance(outcome.error, HomeError)
        assert "hydra.sweep.subdir" in str(outcome.error) and outcome.value is None


def test_what_is_in_the_way_of_an_out_is_an_error(
    staging: Staging, content: Content, call: Call, tmp_path: Path
) -> None:
    put(staging, replace(RECORD, outs=(Left("model", content),)))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "model").write_text("a file")
    outcome = take(staging, call)
    assert outcome is not None and isinstance(outcome.error, InputError)
    assert read(tmp_path / "home" / "model.ray_s3") == {"a": b"1", "b": b"2"}


def test_all_of_a_batch_at_once(staging: Staging, content: Content, tmp_path: Path) -> None:
    calls, entries = [], []
    for number in range(4):
        job = f"{number}" * 64
        out = PathSlot.at(("model",), "model", tmp_path / "home" / f"model{number}")
        calls.append(Call(b"", b"", (), (out,), f"#{number}"))
        entries.append(Entry(job, "later", "app"))
        if number != 2:
            record = replace(RECORD, id=job, outs=(Left("model", content),), value=value_of(number))
            staging.open().put(job_key(job), dump(record) or b"")
    outcomes: dict[int, Any] = Resuming(staging, NoProgress(), "finished").take(calls, entries)
    assert {index: outcome.value for index, outcome in outcomes.items()} == {0: 0, 1: 1, 3: 3}
