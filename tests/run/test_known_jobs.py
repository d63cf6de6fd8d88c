"""Which calls are done, and what the others are called."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from trees import tree

from ray_decorator.core.options.settings import Settings
from ray_decorator.core.progress import NoProgress
from ray_decorator.core.records.job_ids import Surroundings, job_id
from ray_decorator.core.records.records import JobRecord, RunRecord, dump, job_key, run_key
from ray_decorator.core.values.model import Call, PathSlot
from ray_decorator.core.values.returned import value_of
from ray_decorator.core.values.work import Work
from ray_decorator.run.data.staging import Staging
from ray_decorator.run.known_jobs import KnownJobs
from ray_decorator.run.ledger import ledger as ledger_module
from ray_decorator.run.ledger.ledger import Ledger

AROUND = Surroundings("code", "packages", {"/app.py": "0/app.py"})


@pytest.fixture
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Staging:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(ledger_module, "surroundings", lambda *arguments: AROUND)
    return Staging((tmp_path / "store").as_uri(), "driver")


@pytest.fixture
def calls(tmp_path: Path) -> list[Call]:
    dep = PathSlot.at((), "data", tree(tmp_path / "data", {"a": b"1"}))
    works = [Work("__main__", "main", "/app.py", f"config {number}", app="app") for number in range(3)]
    return [Call(b"", b"", (dep,), (), f"#{number}", work=work) for number, work in enumerate(works)]


def known(staging: Staging, calls: list[Call], *, named: bool, resume: Any) -> KnownJobs:
    settings = Settings("local", "", not named, resume=resume)
    ledger = Ledger(settings, staging)
    ledger.look(calls, [], first=True)
    return KnownJobs(settings, staging, ledger, NoProgress())


def ids(staging: Staging, calls: list[Call]) -> list[str]:
    content = staging.held(calls[0].deps[0].value)
    made = [job_id(call.work, AROUND, {"data": content}, ()) for call in calls if call.work]
    return [each for each in made if each]


def test_without_resume_jobs_of_a_named_store_have_ids_at_once(staging: Staging, calls: list[Call]) -> None:
    contents = {calls[0].deps[0].real: staging.held(calls[0].deps[0].value)}
    done, entries = known(staging, calls, named=True, resume="").part(calls, contents)
    assert done == {} and [entry and entry.id for entry in entries] == ids(staging, calls)


def test_without_resume_nothing_is_hashed_that_stays_where_it_is(
    staging: Staging, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "held", None)
    done, entries = known(staging, calls, named=False, resume="").part(calls, {})
    assert done == {} and [entry and entry.id for entry in entries] == ["", "", ""]


def test_those_with_receipts_are_done(
    staging: Staging, calls: list[Call], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for number, each in enumerate(ids(staging, calls)[1:]):
        record = JobRecord(each, "run", "app", (), "COMPLETED", value_of(number))
        staging.open().put(job_key(each), dump(record) or b"")
    earlier = RunRecord("1", "app", 1.0, "host", "me", "another", "packages", ())
    staging.open().put(run_key("1"), dump(earlier) or b"")
    done, entries = known(staging, calls, named=False, resume="finished").part(calls, {})
    assert {index: one.outcome.value for index, one in done.items()} == {1: 0, 2: 1}
    assert [entry and entry.id for entry in entries] == ["", "", ""]  # the driver writes what #0 leaves
    assert any(line.startswith("resume: code changed since the run of 1970") for line in caplog.messages)
