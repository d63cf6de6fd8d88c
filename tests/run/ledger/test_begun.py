"""The note of a job that runs: a later run finds its checkpoints by it, until it is done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from trees import tree

from ray_decorator.core.options.settings import Settings
from ray_decorator.core.records.job_ids import Surroundings
from ray_decorator.core.records.reader import load_begun
from ray_decorator.core.values.model import Call, PathSlot
from ray_decorator.core.values.work import Work
from ray_decorator.run.data.staging import Staging
from ray_decorator.run.jobs import JobMaker
from ray_decorator.run.ledger import ledger as ledger_module
from ray_decorator.run.ledger.begun import BegunJobs, needs_note
from ray_decorator.run.ledger.ledger import Ledger

MAKER = JobMaker("/", (), True, True)


def test_a_later_run_finds_the_checkpoints_of_a_job_that_did_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    around = Surroundings("code", "packages", {"/app.py": "0/app.py"})
    monkeypatch.setattr(ledger_module, "surroundings", lambda *arguments: around)
    staging = Staging((tmp_path / "store").as_uri(), "driver")
    ledger = Ledger(Settings("local", "", True), staging)
    data = PathSlot.at(("data",), "data", tree(tmp_path / "data", {"a": b"1"}))
    state = PathSlot.at(("state",), "state", tree(tmp_path / "state", {"step": b"0"}))
    work = Work("__main__", "main", "/app.py", "config", app="app")
    call = Call(b"", b"", (data, state), (state,), "#0", work=work)
    ledger.look([call], [], first=True)
    job = MAKER.make(call, {})
    contents = {data.real: staging.held(data.value)}
    jobs, before = BegunJobs(ledger, staging, attempts=2), staging.held(state.value)
    jobs.note(call, job, contents, ledger.shared)
    [path] = (tmp_path / "store").glob("ray_s3/checkpoints/jobs/*.json")
    begun = load_begun(path.read_bytes())
    assert (begun.job, begun.attempt, begun.before) == (job.id, 2, {"state": before.digest})
    entry = ledger.entry(call, {**contents, state.real: before})
    assert entry is not None and entry.id == path.stem
    jobs.forget("another")
    assert path.exists()
    jobs.forget(entry.id)
    assert not path.exists()


def test_only_a_job_with_something_to_carry_on_is_noted_and_one_that_knows_its_id_notes_itself(
    tmp_path: Path,
) -> None:
    slot = PathSlot.at(("state",), "state", tmp_path / "state")
    work = Work("__main__", "main", "/app.py", "config", app="app")
    ledger = Ledger(Settings("local", "", True), Staging((tmp_path / "store").as_uri(), "driver"))

    def needed(*outs: PathSlot, known: str = "") -> bool:
        call = Call(b"", b"", (slot,), outs, "#0", work=work)
        entry = ledger.unnamed(call)
        assert entry is not None
        return needs_note(call, replace(MAKER.make(call, {}), entry=replace(entry, known=known)))

    assert needed(slot)
    assert not needed()
    assert not needed(slot, known="a" * 64)
