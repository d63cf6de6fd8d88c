"""The record of a run, as it grows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ray_decorator.core.records.job_ids import Surroundings
from ray_decorator.core.records.reader import load_run
from ray_decorator.core.records.records import run_key
from ray_decorator.core.values.work import Work
from ray_decorator.run.ledger import run_records
from ray_decorator.run.ledger.run_records import RunWriter, new_run_id
from ray_decorator.store.identity import locate
from ray_decorator.store.store import open_store


def test_an_id_begins_with_the_time() -> None:
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}", new_run_id())


def test_it_names_all_jobs_once_the_run_is_over(tmp_path: Path) -> None:
    store = open_store(locate(tmp_path.as_uri()))
    writer = RunWriter("run-1", lambda: store)
    for number in range(3):
        work = Work("app", "main", "/app.py", "config", app="app", overrides=(f"x={number}",))
        for _ in range(2):
            writer.add(work, Surroundings("code", "packages"), str(number) * 64)
    writer.end()
    incoming = store.get(run_key("run-1"))
    assert incoming is not None
    record = load_run(bytes(incoming.read()), "run-1")
    assert (record.app, record.code, record.packages) == ("app", "code", "packages")
    assert record.jobs == tuple(((f"x={number}",), str(number) * 64) for number in range(3))
    assert record.host and record.user


def test_a_run_without_jobs_leaves_none(tmp_path: Path) -> None:
    RunWriter("run-1", lambda: open_store(locate(tmp_path.as_uri()))).end()
    assert list(tmp_path.iterdir()) == []


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(run_records.getpass, "getuser", nameless)
    assert run_records._user().isdecimal()
