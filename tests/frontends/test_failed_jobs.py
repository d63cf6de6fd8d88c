"""Jobs that fail, crash or are cancelled half-way: what they wrote comes home, through all front doors. Real Ray."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from omegaconf import DictConfig
from sweeps import sweep
from trees import read, tree

from ray_decorator import ray_decorator
from ray_decorator.core.errors import JobDiedError

pytestmark = pytest.mark.usefixtures("ray_session")

HOW = ["raises", "killed", "heeds", "stubborn"]


@pytest.fixture(autouse=True, params=["in place", "store"])
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of the caller, with what earlier runs made; data stays there, or travels through a store."""
    if request.param == "store":
        monkeypatch.setenv("RAY_S3_BASE_PATH", (tmp_path / "store").as_uri())
    root = tree(tmp_path / "home", {f"{how}/state/{name}": b"0" for how in HOW for name in "ab"})
    for how in HOW:
        tree(root, {f"{how}/model": b"good"})
    monkeypatch.chdir(root)
    yield root


def fails(how: str, state: str, model: str, mark: str = "/nowhere") -> None:
    """Leaves a new whole ``a``, a torn ``b``, and half a model."""
    Path(state, "a").write_text("1")
    Path(model).write_text("half")
    torn = open(Path(state, "b"), "w")  # noqa: SIM115 (it stays open)
    torn.write("half")
    torn.flush()
    sys.modules[__name__].__dict__["open_files"] = torn
    if how == "raises":
        raise ConnectionError("in the middle")
    scratch = next(path for path in Path(state).parents if (path / ".looks").exists())
    while json.loads((scratch / ".looks").read_text())["settled"] <= Path(state, "a").stat().st_ctime_ns:
        time.sleep(0.05)  # until it was seen to be whole
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    Path(mark).touch()
    while True:
        try:
            time.sleep(0.05)
        except KeyboardInterrupt:
            if how == "heeds":
                raise


def calls(*how: str) -> list[tuple[str, str, str]]:
    return [(each, f"{each}/state", f"{each}/model") for each in how]


LEFT = {
    "state/a": b"1",
    "state/b": b"0",
    "model": b"good",
    "state.failed/b": b"half",
    "model.failed": b"half",
}


def test_by_map(home: Path) -> None:
    """One that raises, and one whose process is gone: another one brings what that has left."""
    run = ray_decorator(["state"], ["state", "model"])(fails)
    errors = run.map(calls("raises", "killed"), return_exceptions=True)
    for how, error, kind in zip(("raises", "killed"), errors, (ConnectionError, JobDiedError), strict=True):
        assert isinstance(error, kind)
        assert read(home / how) == LEFT
        assert error.__notes__ == [
            f"outs key 'state': what it had written is at {home}/{how}/state.failed",
            f"outs key 'model': what it had written is at {home}/{how}/model.failed",
        ]


def test_by_submit_and_cancel(home: Path) -> None:
    run = ray_decorator(["state"], ["state", "model"])(fails)
    futures = {
        how: run.submit(*call, mark=str(home / f"{how}.started"))
        for call in calls("heeds", "stubborn")
        for how in call[:1]
    }
    wait_for(*(home / f"{how}.started" for how in futures))
    for future in futures.values():
        assert future.cancel()
        with pytest.raises(CancelledError):
            future.result(10)
    wait_for(*(home / f"{how}/model.failed" for how in futures))
    for how in futures:
        assert read(home / how) == LEFT


def wait_for(*paths: Path) -> None:
    deadline = time.monotonic() + 60
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def task(cfg: DictConfig) -> None:
    logging.getLogger(__name__).info("so far")
    fails(cfg.how, cfg.state, cfg.model)


def test_by_the_launcher(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = {"how": "raises", "state": "${how}/state", "model": "${how}/model"}
    with pytest.raises(ConnectionError, match="in the middle"):
        sweep(config, task, ["how=raises,killed"], deps=["state"], outs=["state", "model"])
    said = capfd.readouterr()
    for num, how in enumerate(("raises", "killed")):
        assert read(home / how) == {"state/a": b"1", "state/b": b"0", "model": b"good"}
        left = home / f"sweep/{num}/failed"
        assert read(left) == {"state/state/b": b"half", "model/model": b"half"}
        [log] = (home / f"sweep/{num}").glob("*.log")
        assert "so far" in log.read_text()
        assert f"#{num} how={how}: What it had written is in {left}, by key: state, model" in said.out
    rows = [line for line in said.err.splitlines() if " FAILED " in line]
    assert len(rows) == 2 and all("  state, model  sweep/" in row for row in rows)
