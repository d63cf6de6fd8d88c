"""The guard (``python -m ray_decorator.node.guard``) ends as its runner ends."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from runner_process import RunnerProcess, runner

__all__ = ["runner"]


@pytest.mark.parametrize(
    ("code", "ends"),
    [
        ("import os; os._exit(7)", 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
    ],
)
def test_it_ends_as_the_runner_ends(code: str, ends: int, runner: RunnerProcess) -> None:
    runner.start(code)
    assert runner.code() == ends


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_runner_is_its_child_and_of_its_process_group(runner: RunnerProcess, tmp_path: Path) -> None:
    runner.start("import os; raise ValueError((os.getppid(), os.getpgid(0)))")
    guard = runner.process.pid
    assert runner.failure() == f"ValueError: {(guard, guard)}"
