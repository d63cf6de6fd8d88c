"""What sweeps print whose sweeper calls the launcher again and again: a line a job, and one table."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import warm_python

APP = """
import time
from pathlib import Path
import hydra

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    if cfg.get("fails_at") is not None and cfg.x >= cfg.fails_at:
        raise ValueError("no good")
    if cfg.get("waits_at") is not None and cfg.x >= cfg.waits_at:
        Path(cfg.mark).touch()
        time.sleep(300)
    return cfg.x / 8

main()
"""
TRIALS = (
    "-m",
    "hydra/launcher=ray_s3",
    "hydra.sweep.dir=sweep",
    "hydra/sweeper=optuna",
    "hydra/sweeper/sampler=grid",
    "hydra.sweeper.n_jobs=1",
    "+x=choice(1,2,3)",
)
BATCHES = (
    "-m",
    "hydra/launcher=ray_s3",
    "hydra.sweep.dir=sweep",
    "hydra.sweeper.max_batch_size=2",
    "+x=1,2,3",
)

pytestmark = pytest.mark.usefixtures("ray_session_address")


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path / "app.py"


def start(app: Path, *arguments: str, python: Sequence[str] = (sys.executable,)) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*python, app.name, *arguments],
        cwd=app.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def run(app: Path, *arguments: str, code: int = 0) -> list[str]:
    process = start(app, *arguments, python=warm_python.starter())
    output = process.communicate(timeout=120)[0]
    assert process.returncode == code, output
    return output.splitlines()


def without_times(lines: list[str]) -> list[str]:
    return [re.sub(r"[\d.]+ s$", "N s", re.sub(r"^\[[^\]]*\]\[HYDRA\] ", "", line)) for line in lines]


def jobs(lines: list[str]) -> list[str]:
    """The rows of the table, which is there once."""
    [head] = [number for number, line in enumerate(lines) if line.startswith("job  overrides")]
    rows = [re.match(r" +\d+  \+(x=\d).*? (COMPLETED|FAILED|CANCELLED) ", line) for line in lines[head:]]
    return [f"{row[1]} {row[2]}" for row in rows if row]


@pytest.mark.parametrize("arguments", [TRIALS, BATCHES], ids=["optuna", "batches"])
def test_a_line_a_job_and_the_table_at_the_end(app: Path, arguments: tuple[str, ...]) -> None:
    lines = without_times(run(app, *arguments))
    first = next(number for number, line in enumerate(lines) if line.startswith("Launching a sweep on Ray"))
    last = next(number for number, line in enumerate(lines) if line.startswith("running: "))
    assert lines[first + 1] == "Sweep output dir : sweep"
    said = [re.sub(r"^(#\d).*(x=\d)", r"\1 \2", line) for line in lines[first + 2 : last]]
    ran = sorted(re.sub(r"^#\d ", "", line) for line in said if line.startswith("#"))
    assert ran == ["x=1: 0.125, N s", "x=2: 0.25, N s", "x=3: 0.375, N s"]
    others = [line for line in said if not line.startswith(("#", "Connecting to Ray", "Still connecting"))]
    assert all("optuna" in line.lower() or line.startswith("Best") for line in others), others
    assert lines[last] == "running: 3 jobs, N s"
    assert sorted(jobs(lines)) == ["x=1 COMPLETED", "x=2 COMPLETED", "x=3 COMPLETED"]


@pytest.mark.parametrize("arguments", [TRIALS, BATCHES], ids=["optuna", "batches"])
def test_a_sweep_that_ends_with_a_failed_job_shows_what_ran(app: Path, arguments: tuple[str, ...]) -> None:
    lines = run(app, *arguments, "+fails_at=1", code=1)
    assert all(row.endswith(" FAILED") for row in jobs(lines)) and jobs(lines)
    assert any("failed: ValueError: no good" in line for line in lines)


def test_an_interrupted_sweep_shows_what_ran(app: Path) -> None:
    mark = app.parent / "waits"
    process = start(app, *BATCHES, "+waits_at=3", f"+mark={mark}")
    deadline = time.monotonic() + 90
    while not mark.exists():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    lines = process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == 130
    assert jobs(lines) == ["x=1 COMPLETED", "x=2 COMPLETED", "x=3 CANCELLED"]
