"""What a killed process has started is killed, however it was started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ray_decorator.job import reaper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

WORKER = """
import os, subprocess, sys, time
from ray_decorator.job import reaper

reaper.watch()
reaper.watch()
sleep = ["sleep", "600"]
print(subprocess.Popen(sleep).pid)
print(subprocess.Popen(sleep, start_new_session=True).pid)
if not (child := os.fork()):
    os.setsid()
    time.sleep(600)
print(child)
print(subprocess.Popen(sleep, env={**os.environ, "RAY_S3_KEEP": "1"}, start_new_session=True).pid, flush=True)
time.sleep(600)
"""


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_all_that_it_has_started_ends_with_it() -> None:
    worker = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    child, own_session, forked, kept = (int(worker.stdout.readline()) for _ in range(4))
    assert not any(map(is_gone, (child, own_session, forked, kept)))
    reapers = [
        pid
        for pid in filter(str.isdigit, os.listdir("/proc"))
        if f"reaper\0{worker.pid}\0".encode() in Path("/proc", pid, "cmdline").read_bytes()
    ]
    assert len(reapers) == 1
    worker.kill()
    worker.wait(60)
    deadline = time.monotonic() + 60
    while not all(map(is_gone, (child, own_session, forked, int(reapers[0])))):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not is_gone(kept)
    os.kill(kept, signal.SIGKILL)


def test_nothing_is_done_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delenv(reaper.MARK, raising=False)
    reaper.watch()
    assert reaper.MARK not in os.environ
