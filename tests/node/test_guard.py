"""The guard (``python -m ray_decorator.node.guard``) ends as its runner ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runner_process import RunnerProcess, runner

__all__ = ["runner"]

INTERRUPTS = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


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


@pytest.fixture
def in_the_background() -> Iterator[None]:
    """As in a Ray worker, which blocks SIGINT, of a node that a script has started with ``nohup ray start &``."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    before = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def test_its_jobs_and_their_children_can_be_interrupted(
    in_the_background: None, runner: RunnerProcess
) -> None:
    runner.start(f"""
import os, signal, subprocess
codes = []
for number in {[int(number) for number in INTERRUPTS]}:
    with subprocess.Popen(["sleep", "20"]) as child:
        child.send_signal(number)
    codes.append(-child.returncode)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    codes.append("interrupted")
raise ValueError(codes)
""")
    assert runner.failure() == f"ValueError: {[*map(int, INTERRUPTS), 'interrupted']}"
