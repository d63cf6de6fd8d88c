"""Receipts that the driver writes of jobs whose data stays where it is."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trees import tree

from ray_decorator.content.looking.fingerprint import fingerprint, fingerprint_of
from ray_decorator.content.looking.snapshot import snapshot
from ray_decorator.core.errors import ClusterError
from ray_decorator.core.options.settings import Settings
from ray_decorator.core.progress import NoProgress
from ray_decorator.core.records.job_ids import Surroundings
from ray_decorator.core.records.reader import load_job
from ray_decorator.core.records.records import JobRecord, job_key
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.model import Call, Job, Outcome, PathSlot
from ray_decorator.core.values.returned import Told, value_of
from ray_decorator.core.values.work import Work
from ray_decorator.run.data.changed_deps import ChangedDeps
from ray_decorator.run.data.staging import Staging
from ray_decorator.run.jobs import JobMaker
from ray_decorator.run.ledger import beside as module
from ray_decorator.run.ledger import ledger as ledger_module
from ray_decorator.run.ledger.beside import Beside
from ray_decorator.run.ledger.ledger import Ledger

WORK = Work("__main__", "main", "/app.py", "config", app="app", overrides=("x=1",))
TOLD = Told("COMPLETED", value_of(0.5))


class Driver:
    """What a session does around its jobs, with receipts in a directory."""

    def __init__(self, root: Path) -> None:
        self.root, self.store = root, root / "store"
        self.staging = Staging(self.store.as_uri(), "driver")
        self.ledger = Ledger(Settings("local", "", True), self.staging)
        self.beside = Beside(self.ledger, self.staging)
        self.changed = ChangedDeps()

    def call(self, name: str = "#0", **more: Any) -> Call:
        home = self.root / "home"
        dep = PathSlot.at(("data",), "data", self.root / "data")
        out = PathSlot.at(("model",), "model", home / "model")
        workspace = PathSlot.at((), "hydra.sweep.subdir", home / name)
        return replace(Call(b"", b"", (dep,), (out,), name, workspace, work=WORK), **more)

    def start(self, call: Call) -> Future[Outcome]:
        self.ledger.look([call], [], first=True)
        made = JobMaker("/", (), True, True).make(call, {})
        job: Job = replace(made, entry=self.ledger.unnamed(call))
        seals = self.changed.begin(job.id, call.name, call.deps, call.targets)
        outcome: Future[Outcome] = Future()
        outcome.add_done_callback(self.beside.begin(call, job, seals))
        return outcome

    def receipts(self) -> list[JobRecord]:
        self.beside.finish()
        self.ledger.end()
        found = sorted(self.store.glob("ray_s3/jobs/*.json"))
        return [load_job(path.read_bytes(), path.stem) for path in found]


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    around = Surroundings("code", "packages", {"/app.py": "0/app.py"})
    monkeypatch.setattr(ledger_module, "surroundings", lambda *arguments: around)
    tree(tmp_path / "data", {"a": b"1", "sub/b": b"2"})
    return Driver(tmp_path)


def write(driver: Driver, text: str = "model", name: str = "#0") -> None:
    tree(driver.root / "home", {"model": text.encode(), f"{name}/app.log": b"log"})


def test_it_says_where_all_is(driver: Driver) -> None:
    call = driver.call()
    outcome = driver.start(call)
    write(driver)
    outcome.set_result(Outcome("#0", 0.5, seconds=2.0, node="host/1", told=TOLD))
    [record] = driver.receipts()
    assert (record.app, record.overrides, record.status, record.value.held()) == (
        "app",
        ("x=1",),
        "COMPLETED",
        0.5,
    )
    assert (record.seconds, record.node) == (2.0, "host/1")
    home, [left] = driver.root / "home", record.outs
    content = snapshot(home / "model", driver.staging.hashes, NoProgress()).content
    assert (left.key, left.content, left.place) == ("model", content, str(home / "model"))
    assert left.seal == fingerprint(str(home / "model"))
    assert record.workspace is not None
    assert (record.workspace.place, record.workspace.content) == (str(home / "#0"), None)
    assert record.workspace.seal == fingerprint(str(home / "#0"))


def test_code_that_changes_while_jobs_run_gives_no_receipt(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker imports a module when it first needs it: nobody knows which version that was."""
    code = str(tree(driver.root / "code", {"module.py": b"one"}) / "module.py")
    around = Surroundings(
        "code", "packages", {"/app.py": "0/app.py"}, paths=(code,), seal=fingerprint_of([code])
    )
    monkeypatch.setattr(ledger_module, "surroundings", lambda *arguments: around)
    before = driver.call("#0", outs=())
    after = driver.call("#1", outs=(), work=replace(WORK, config="other"))
    first, second = driver.start(before), driver.start(after)
    first.set_result(Outcome("#0", told=TOLD))
    driver.beside.finish()
    Path(code).write_text("two")
    with caplog.at_level("INFO", "ray_decorator"):
        second.set_result(Outcome("#1", told=TOLD))
        assert len(driver.receipts()) == 1
    assert [each for each in caplog.messages if each.startswith("the project's code has changed")]
    left = driver.staging.open()
    for name in ("a", "b"):  # of jobs that leave theirs themselves, since a store is named
        left.put(job_key(name * 64), b"{}")
    driver.ledger.look([before], [], first=True)
    Path(code).write_text("three")
    driver.beside.written("a" * 64)(Future())
    driver.beside.finish()
    assert left.head(job_key("a" * 64)) is None and left.head(job_key("b" * 64)) == 2


def test_the_code_is_looked_at_once_for_all_that_have_ended(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[object] = []
    monkeypatch.setattr(module, "is_as_it_was", lambda around: looks.append(around) or True)
    driver.start(driver.call())
    driver.beside.finish()
    written = [module._Written(name * 64, driver.ledger.shared) for name in "abc"]
    driver.beside._take(written)
    assert len(looks) == 1


def test_its_id_is_that_of_the_same_job_through_a_store(driver: Driver) -> None:
    call = driver.call()
    driver.start(call).set_result(Outcome("#0", told=TOLD))
    [record] = driver.receipts()
    driver.ledger.look([call], [], first=True)
    contents = {dep.real: driver.staging.held(dep.value) for dep in call.deps}
    entry = driver.ledger.entry(call, contents)
    assert entry is not None and record.id == entry.id


def test_a_dep_that_changes_while_the_job_runs_gives_no_receipt(driver: Driver) -> None:
    outcome = driver.start(driver.call())
    driver.beside.finish()
    (driver.root / "data" / "a").write_bytes(b"changed")
    outcome.set_result(Outcome("#0", told=TOLD))
    assert driver.receipts() == []


def test_an_out_in_a_dep_gives_none(driver: Driver) -> None:
    out = PathSlot.at(("model",), "model", driver.root / "data" / "model")
    driver.start(driver.call(outs=(out,))).set_result(Outcome("#0", told=TOLD))
    assert driver.receipts() == []


def test_an_out_that_a_later_job_writes_is_that_ones(driver: Driver) -> None:
    first, second = (
        driver.call("#0"),
        driver.call("#1", work=replace(WORK, config="another", overrides=("x=2",))),
    )
    done = driver.start(first)
    later = driver.start(second)
    write(driver)
    done.set_result(Outcome("#0", told=TOLD))
    later.set_result(Outcome("#1", told=TOLD))
    assert [record.overrides for record in driver.receipts()] == [("x=2",)]


def test_others_leave_none(driver: Driver) -> None:
    driver.start(driver.call()).set_result(Outcome("#0"))
    driver.start(driver.call()).set_exception(ClusterError("lost"))
    driver.start(driver.call()).cancel()
    assert driver.receipts() == []


def test_a_run_waits_for_no_long_hash(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    hashing, go_on = threading.Event(), threading.Event()

    def held(path: Path, **options: Any) -> Content:
        hashing.set()
        assert go_on.wait(60)
        return Content("0" * 32, 1, 1)

    monkeypatch.setattr(driver.staging, "held", held)
    monkeypatch.setattr(module, "_END_SECONDS", 60.0)
    monkeypatch.setattr(module, "_LONG_SECONDS", 0.0)
    driver.start(driver.call()).set_result(Outcome("#0", told=TOLD))
    assert hashing.wait(20)
    assert driver.receipts() == []  # else the test hangs
    go_on.set()


def test_a_large_out_is_told_of_before_it_is_hashed(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGE", 3)
    real = driver.staging.held
    seen: list[Any] = []

    def held(path: Path, **options: Any) -> Content:
        if options:
            seen.extend(driver.store.glob("ray_s3/jobs/*.json"))
        return real(path, **options)

    monkeypatch.setattr(driver.staging, "held", held)
    outcome = driver.start(driver.call())
    write(driver)
    outcome.set_result(Outcome("#0", told=TOLD))
    [record] = driver.receipts()
    assert len(seen) == 1 and record.outs[0].content is not None


def test_one_that_fails_takes_no_other_with_it(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written = Beside._write

    def fails_first(self: Beside, ended: Any, now: dict[str, bool]) -> None:
        if ended.started.call.name == "#0":
            raise OSError("gone")
        written(self, ended, now)

    monkeypatch.setattr(Beside, "_write", fails_first)
    calls = [driver.call(name, outs=()) for name in ("#0", "#1")]
    for outcome in [driver.start(call) for call in calls]:
        outcome.set_result(Outcome("", told=TOLD))
    assert len(driver.receipts()) == 1
    assert "#0 leaves no receipt: OSError: gone" in caplog.text


def test_one_that_comes_late_is_of_its_own_run(driver: Driver) -> None:
    call = driver.call()
    outcome = driver.start(call)
    driver.ledger.end()
    driver.ledger.look([driver.call("#1")], [], first=True)
    outcome.set_result(Outcome("#0", told=TOLD))
    [record] = driver.receipts()
    deadline = time.monotonic() + 20
    while not (runs := list(driver.store.glob("ray_s3/runs/*.json"))) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [path.stem for path in runs] == [record.run]
