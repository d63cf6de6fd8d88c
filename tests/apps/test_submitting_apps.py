"""Programs that submit calls, in processes of their own: what becomes of these when the program ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import warm_python

pytestmark = pytest.mark.usefixtures("ray_session_address")

APP = """
import sys, time
from pathlib import Path
from ray_decorator import ray_decorator

@ray_decorator(outs=["out"], ray_remote_kwargs={"num_cpus": 0.1})
def work(out, seconds, size=1):
    Path("started").touch()
    for _ in range(int(seconds * 20)):
        time.sleep(0.05)
    Path(out).write_bytes(b"x" * size)
"""


def start(directory: Path, code: str, python: Sequence[str] = (sys.executable,)) -> subprocess.Popen[str]:
    (directory / "app.py").write_text(APP + code)
    return subprocess.Popen(
        [*python, "app.py"],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_a_program_that_ends_waits_for_what_it_submitted(tmp_path: Path) -> None:
    # 80 MB: a download that needs threads, which concurrent.futures gives none of at the very end
    code = "work.submit('out', 1.0, 80_000_000)\nprint('the end')\n"
    app = start(tmp_path, code, warm_python.starter())
    output, _ = app.communicate(timeout=120)
    assert app.returncode == 0, output
    assert "the end" in output
    assert (tmp_path / "out").stat().st_size == 80_000_000


@pytest.mark.parametrize("wait", ["future.result()", "time.sleep(60)"])
def test_ctrl_c_cancels_what_was_submitted(tmp_path: Path, wait: str) -> None:
    app = start(tmp_path, f"future = work.submit('out', 60.0)\nprint('up', flush=True)\n{wait}\n")
    assert app.stdout is not None
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(app.pid, signal.SIGINT)
    since = time.monotonic()
    output, _ = app.communicate(timeout=60)
    assert "KeyboardInterrupt" in output
    assert app.returncode == -signal.SIGINT, output  # as at home: a shell's loop ends with it
    assert time.monotonic() - since < 40  # and not the minute that the job takes
    assert not (tmp_path / "out").exists()


def test_a_ray_that_the_program_replaced_takes_the_next_call(tmp_path: Path) -> None:
    code = """
import ray
work("out", 0.0)
ray.shutdown()
ray.init(address="local", num_cpus=1, include_dashboard=False, logging_level="ERROR")
work("out", 0.0, 7)
future = work.submit("later", 0.0, 8)
future.result(60)
"""
    app = start(tmp_path, code, warm_python.starter())
    output, _ = app.communicate(timeout=120)
    assert app.returncode == 0, output
    assert [(tmp_path / name).stat().st_size for name in ("out", "later")] == [7, 8]


def test_a_breakpoint_meanwhile_is_the_program_s_own(tmp_path: Path) -> None:
    """Ray leads `breakpoint()` to its own debugger, which needs debugpy, and goes on without it."""
    (tmp_path / "app.py").write_text(APP + "work.submit('out', 0.5).result()\nword = 6 * 7\nbreakpoint()\n")
    environ = {
        k: v for k, v in os.environ.items() if k != "PYTHONBREAKPOINT"
    }  # set by this process's own Ray
    done = subprocess.run(
        [*warm_python.starter(environ), "app.py"],
        cwd=tmp_path,
        env=environ,
        input="print('word is', word)\nc\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "word is 42" in done.stdout and done.returncode == 0, done.stdout + done.stderr
