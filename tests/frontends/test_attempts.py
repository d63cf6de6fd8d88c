"""Jobs that fail twice and then do well: by an exception, an exit and a kill, through all front doors. Real Ray."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig
from sweeps import sweep

from ray_decorator import InputError, checkpoint, ray_decorator

pytestmark = pytest.mark.usefixtures("ray_session")

HOW = ["raise", "exit", "kill"]
RETRIED = {"max_retries": 2, "retry_exceptions": ["ConnectionError"]}


@pytest.fixture(autouse=True, params=["in place", "store"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of the caller; data stays where it is, or travels through a store."""
    if request.param == "store":
        monkeypatch.setenv("RAY_S3_BASE_PATH", (tmp_path / "store").as_uri())
    for how in HOW:
        (tmp_path / f"{how}.state").write_text("0")
    monkeypatch.chdir(tmp_path)
    yield tmp_path


class Reset(ConnectionResetError):
    """Of a class that travels by value."""


def fails_twice(how: str, state: str, out: str) -> str:
    """``state`` is read and written: each attempt begins with what is at home."""
    attempt, path = os.environ["RAY_S3_ATTEMPT"], Path(state)
    path.write_text(path.read_text() + attempt)
    with open(out, "a") as file:
        file.write(attempt)
    if attempt != "3":
        if how == "raise":
            raise Reset(f"number {attempt}")
        if how == "exit":
            os._exit(1)
        os.kill(os.getpid(), signal.SIGKILL)
    return f"{how} {attempt}"


def check_home(home: Path, how: str) -> None:
    assert (home / f"{how}.state").read_text() == "03"
    assert (home / f"{how}.out").read_text() == "3"


def calls() -> list[tuple[str, str, str]]:
    return [(how, f"{how}.state", f"{how}.out") for how in HOW]


def test_by_map(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = ray_decorator(["state"], ["state", "out"], ray_remote_kwargs=RETRIED)(fails_twice)
    assert run.map(calls()) == [f"{how} 3" for how in HOW]
    for how in HOW:
        check_home(home, how)
    said = [line for line in caplog.messages if "is replaced by another one" in line]
    assert len(said) == 6
    assert "#0 fails_twice: attempt 1 of 3 failed, and is replaced by another one (Reset: number 1)" in said
    assert (
        sum("attempt 2 of 3 failed, and is replaced by another one (crashed: its process" in x for x in said)
        == 2
    )


@pytest.mark.parametrize("home", ["in place"], indirect=True)
def test_by_submit(home: Path) -> None:
    run = ray_decorator(["state"], ["state", "out"], ray_remote_kwargs=RETRIED)(fails_twice)
    futures = [run.submit(*call) for call in calls()]
    assert [future.result(120) for future in futures] == [f"{how} 3" for how in HOW]
    for how in HOW:
        check_home(home, how)


def task(cfg: DictConfig) -> str:
    Path("by-attempt.txt").write_text(os.environ["RAY_S3_ATTEMPT"])  # in the job's own directory
    logging.getLogger(__name__).info("attempt %s", os.environ["RAY_S3_ATTEMPT"])
    return fails_twice(cfg.how, cfg.state, cfg.out)


@pytest.mark.parametrize("home", ["store"], indirect=True)
def test_by_the_launcher(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = {"how": "raise", "state": "${how}.state", "out": "${how}.out"}
    keys: dict[str, Any] = {"deps": ["state"], "outs": ["state", "out"], "ray_remote_kwargs": RETRIED}
    jobs = sweep(config, task, ["how=raise,exit,kill", "hydra.job.chdir=true"], **keys)
    assert [job.return_value for job in jobs] == [f"{how} 3" for how in HOW]
    for num, how in enumerate(HOW):
        check_home(home, how)
        assert (home / f"sweep/{num}/by-attempt.txt").read_text() == "3"
        logs = {path.name: path.read_text() for path in (home / f"sweep/{num}").glob("*.log")}
        assert [name.partition(".")[2] for name in sorted(logs)] == ["1.log", "2.log", "log"]
        said = [text.strip().rpartition(" - ")[2].split("\n")[0] for _, text in sorted(logs.items())]
        assert said[:2] == (["The job failed"] * 2 if how == "raise" else ["attempt 1", "attempt 2"])
        assert said[2] == "attempt 3"
    table = [line.split() for line in capfd.readouterr().err.splitlines() if "COMPLETED" in line]
    assert [row[table_column(row)] for row in table if row[0].isdigit() and "how=" in row[1]] == [
        "3",
        "3",
        "3",
    ]


def steps(state: str) -> str:
    """Two steps, each with a checkpoint of the state; killed in the middle of writing the second time."""
    path, begun = Path(state), Path(state).read_text()
    for step in "ab":
        if step not in path.read_text():
            path.write_text(path.read_text() + step)
            assert checkpoint()
    if os.environ["RAY_S3_ATTEMPT"] == "1":
        path.write_text("torn")
        os.kill(os.getpid(), signal.SIGKILL)
    return begun


def test_a_retry_begins_with_the_newest_checkpoint(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options: dict[str, Any] = {"ray_remote_kwargs": {"max_retries": 1}, "checkpoint_interval": 0.5}
    run = ray_decorator(["state"], ["state"], **options)(steps)
    assert run.map(["raise.state", "exit.state"]) == ["0ab", "0ab"]
    assert (home / "raise.state").read_text() == "0ab"
    config = {"state": "kill.state"}
    [job] = sweep(config, lambda cfg: steps(cfg.state), [], deps=["state"], outs=["state"], **options)
    assert job.return_value == "0ab" and (home / "kill.state").read_text() == "0ab"
    assert not [path for path in (home / "store/ray_s3/checkpoints").rglob("*") if path.is_file()]


def table_column(row: list[str]) -> int:
    return len(row) - 2  # before the directory


def test_what_is_not_named_and_what_is_the_last_is_raised(home: Path) -> None:
    runs = home / "runs"

    @ray_decorator(ray_remote_kwargs={"max_retries": 1, "retry_exceptions": [OSError, "ArithmeticError"]})
    def fails(kind: type[Exception]) -> None:
        with open(runs, "a") as file:
            file.write(f"{kind.__name__}{os.environ['RAY_S3_ATTEMPT']} ")
        raise kind("as ever")

    for kind in (ZeroDivisionError, FileNotFoundError, KeyError):
        with pytest.raises(kind, match="as ever"):
            fails(kind)
    assert runs.read_text().split() == [
        "ZeroDivisionError1", "ZeroDivisionError2", "FileNotFoundError1", "FileNotFoundError2", "KeyError1",
    ]  # fmt: skip


def test_by_default_nothing_is_run_again(home: Path) -> None:
    run = ray_decorator(["state"], ["state", "out"])(fails_twice)
    failed = run.map(calls(), return_exceptions=True)
    assert [str(error).partition(" crashed")[0] for error in failed] == [
        "number 1",
        "#1 fails_twice",
        "#2 fails_twice",
    ]
    assert not any((home / f"{how}.out").exists() for how in HOW)


def test_a_job_that_is_never_done_can_be_cancelled(home: Path) -> None:
    runs = home / "runs"

    @ray_decorator(ray_remote_kwargs={"max_retries": -1, "retry_exceptions": True})
    def fails() -> None:
        with open(runs, "a") as file:
            file.write("x")
        raise OSError("for ever")

    future = fails.submit()
    deadline = time.monotonic() + 60
    while (not runs.exists() or len(runs.read_text()) < 3) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(runs.read_text()) >= 3
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(10)
    count = _settled(runs)
    assert count == _settled(runs)


def _settled(runs: Path) -> int:
    time.sleep(1.0)
    return len(runs.read_text())


def test_what_cannot_be_retried_is_refused_before_anything_starts(home: Path) -> None:
    run = ray_decorator(ray_remote_kwargs={"retry_exceptions": True})(fails_twice)
    with pytest.raises(InputError, match=r"retry_exceptions is set, but max_retries is 0"):
        run("raise", "raise.state", "raise.out")
    assert (home / "raise.state").read_text() == "0"
