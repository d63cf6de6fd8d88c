"""What the system tells of processes, by /proc and by ps alike."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from ray_decorator.job.process import processes

WAYS = [
    pytest.param(True, marks=pytest.mark.skipif(not processes.HAS_PROC, reason="no /proc"), id="proc"),
    pytest.param(False, marks=pytest.mark.skipif(not shutil.which("ps"), reason="no ps"), id="ps"),
]
TREE = "import subprocess, sys; subprocess.Popen(['sleep', '600'], stdout=2); print(flush=True); sys.stdin.read()"


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "HAS_PROC", request.param)


@pytest.fixture
def parent(way: None) -> Iterator[subprocess.Popen[str]]:
    """A process with a child."""
    process = subprocess.Popen(
        [sys.executable, "-c", TREE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLOUR": "green"},
    )
    assert process.stdout is not None and process.stdout.readline()
    below = processes.children(process.pid)
    yield process
    process.kill()
    process.communicate(timeout=60)
    for pid in below:
        os.kill(pid, 9)


def test_its_children_and_what_is_below_it(parent: subprocess.Popen[str]) -> None:
    assert parent.pid in processes.children(os.getpid())
    (child,) = processes.children(parent.pid)
    assert list(processes.descendants([parent.pid])) == [parent.pid, child]
    assert processes.children(child) == []


def test_its_command_and_its_environment(parent: subprocess.Popen[str]) -> None:
    assert "import subprocess, sys" in processes.command(parent.pid)
    assert processes.has_variable(parent.pid, "COLOUR=green")
    assert not processes.has_variable(parent.pid, "COLOUR=gree")


def test_whether_it_runs(parent: subprocess.Popen[str]) -> None:
    assert processes.runs(parent.pid)
    (child,) = processes.children(parent.pid)
    parent.kill()
    deadline = time.monotonic() + 60
    while processes.runs(parent.pid):  # a zombie from now on, until it is waited for
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parent.wait(60)
    assert processes.runs(child) and processes.command(parent.pid) == ""
    assert processes.children(parent.pid) == []
    assert not processes.has_variable(parent.pid, "COLOUR=green")


def test_where_ps_cannot_be_started_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "HAS_PROC", False)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert processes.children(os.getpid()) == [] and processes.command(os.getpid()) == ""
    assert not processes.runs(os.getpid())
