"""Which job is which, as a session asks it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ray_decorator.core.errors import InputError
from ray_decorator.core.options.settings import Settings
from ray_decorator.core.records.job_ids import Surroundings
from ray_decorator.core.records.reader import load_run
from ray_decorator.core.records.records import run_key
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.model import Call, PathSlot
from ray_decorator.core.values.work import Work
from ray_decorator.run.data.staging import Staging
from ray_decorator.run.ledger import ledger as module
from ray_decorator.run.ledger.ledger import Ledger

WORK = Work("__main__", "main", "/app.py", "config", app="app", overrides=("x=1",))
DATA = Content("0" * 32, 10, 1)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the code was looked at for; it is found to be there."""
    seen: list[Any] = []

    def look(settings: Any, staging: Any, left_out: Any, configs: Any) -> Surroundings:
        seen.append(left_out)
        return Surroundings("code", "packages", {"/app.py": "0/app.py"})

    monkeypatch.setattr(module, "surroundings", look)
    return seen


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path.as_uri(), "driver")


def slot(key: str, path: str) -> PathSlot:
    return PathSlot((key,), key, Path(path), path)


CALL = Call(b"", b"", (slot("data", "/data"),), (slot("model", "/model"),), "#0", work=WORK)


def test_a_job_and_its_run(looked: list[Any], staging: Staging) -> None:
    ledger = Ledger(Settings("local", "", False), staging)
    ledger.look([CALL], [Path("/data")], first=True)
    entry = ledger.entry(CALL, {"/data": DATA})
    assert entry is not None
    assert (entry.app, entry.overrides, entry.before) == ("app", ("x=1",), {})
    ledger.end()
    incoming = staging.open().get(run_key(entry.run))
    assert incoming is not None
    assert load_run(bytes(incoming.read()), entry.run).jobs == ((("x=1",), entry.id),)
    assert looked == [(Path("/data"),)]


def test_a_batch_that_follows_at_once_shares_what_was_found(looked: list[Any], staging: Staging) -> None:
    ledger = Ledger(Settings("local", "", False), staging)
    entries = []
    for _ in range(2):
        ledger.look([CALL], [], first=True)
        ledger.look([CALL], [Path("/more")], first=False)
        entries.append(ledger.entry(CALL, {"/data": DATA}))
        ledger.end()
    assert len(looked) == 1
    assert entries[0] and entries[1] and entries[0].id == entries[1].id and entries[0].run != entries[1].run


@pytest.mark.parametrize("key", ["model", "the_same_path.under_another_key"])
def test_what_a_job_also_writes_is_remembered_and_does_not_count(
    looked: list[Any], staging: Staging, key: str
) -> None:
    both = replace(CALL, deps=(slot("data", "/data"), slot(key, "/model")))
    ledger = Ledger(Settings("local", "", False), staging)
    ledger.look([both], [], first=True)
    entries = [
        ledger.entry(both, {"/data": DATA, "/model": Content(digest, 1, 1)})
        for digest in ("1" * 32, "2" * 32)
    ]
    assert entries[0] and entries[1] and entries[0].id == entries[1].id
    assert (entries[0].before, entries[1].before) == ({"model": "1" * 32}, {"model": "2" * 32})
    ledger.end()


@pytest.mark.parametrize(
    "call", [replace(CALL, work=None), replace(CALL, work=replace(WORK, source="/b.py"))]
)
def test_others_have_no_entry(call: Call, looked: list[Any], staging: Staging) -> None:
    ledger = Ledger(Settings("local", "", False), staging)
    ledger.look([call], [], first=True)
    assert ledger.entry(call, {"/data": DATA}) is None
    ledger.end()


def test_code_that_cannot_be_read_costs_receipts_alone_and_a_line_says_so(
    staging: Staging, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: Any) -> Surroundings:
        raise InputError("too much")

    monkeypatch.setattr(module, "surroundings", refuse)
    ledger = Ledger(Settings("local", "", False), staging)
    ledger.look([CALL], [], first=True)
    with caplog.at_level("INFO", "ray_decorator"):
        assert ledger.entry(CALL, {"/data": DATA}) is None
        assert ledger.entry(CALL, {"/data": DATA}) is None
    assert caplog.messages == [
        "jobs leave no receipts, so that a later `resume` would run them again: too much"
    ]
