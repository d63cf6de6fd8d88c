"""What a killed process has started is killed, however it was started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

WORKER = """
import os, subprocess, sys, time
from ray_decorator.job.process import reaper

reaper.watch()
reaper.watch()
sleep = ["sleep", "600"]
print(subprocess.Popen(sleep).pid)
print(subprocess.Popen(sleep, start_new_session=True).pid)
if not (child := os.fork()):
    os.setsid()
    time.sleep(600)
print(child)
print(subprocess.Popen(["/bin/sleep", "600"], env={}, start_new_session=True).pid)
print(subprocess.Popen(sleep, env={**os.environ, "RAY_S3_KEEP": "1"}, start_new_session=True).pid, flush=True)
time.sleep(600)
"""


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def command_of(pid: str) -> bytes:
    """Nothing for one that has ended meanwhile, as some of the machine's do at any time."""
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_all_that_it_has_started_ends_with_it() -> None:
    worker = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    *all_started, kept = (int(worker.stdout.readline()) for _ in range(5))
    assert not any(map(is_gone, (*all_started, kept)))
    reapers = [
        pid
        for pid in filter(str.isdigit, os.listdir("/proc"))
        if f"reaper\0{worker.pid}\0".encode() in command_of(pid)
    ]
    assert len(reapers) == 1
    worker.kill()
    worker.wait(60)
    deadline = time.monotonic() + 60
    while not all(map(is_gone, (*all_started, int(reapers[0])))):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not is_gone(kept)
    os.kill(kept, signal.SIGKILL)


@pytest.mark.parametrize("why", ["another system", "a bound of the system's own"])
def test_nothing_is_done_where_it_cannot_be(why: str) -> None:
    """In a process of its own: a bound cannot be taken back."""
    program = (
        "import resource, sys\nfrom ray_decorator.job.process import reaper\n"
        f"if {why!r} == 'another system':\n    sys.platform = 'darwin'\n"
        "else:\n    resource.setrlimit(15, (200_000, 200_000))\n"
        "before = resource.getrlimit(15)\nreaper.watch()\n"
        "assert resource.getrlimit(15) == before and not reaper._watched\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
