"""What a job has started in a session of its own ends with the job, however that ends; what is kept lives on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import warm_python
from outliving import outlives

pytestmark = [
    pytest.mark.usefixtures("ray_session_address"),
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes are left alone"),
]

APP = """
import os, subprocess, sys, time
from pathlib import Path
from ray_decorator import ray_decorator

@ray_decorator()
def job(fate, directory):
    child = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True, env={})
    Path(directory, "child.new").write_text(str(child.pid))
    keep = {**os.environ, "RAY_S3_KEEP": "1"}
    kept = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True, env=keep)
    Path(directory, "kept").write_text(f"{kept.pid} {os.getpid()}")
    os.rename(Path(directory, "child.new"), Path(directory, "child"))
    if fate == "crashes":
        os._exit(7)
    while True:  # no cancel is heeded
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            pass

job(sys.argv[1], sys.argv[2])
"""


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("fate", "then"), [("crashes", None), ("waits", signal.SIGINT), ("waits", signal.SIGKILL)],
    ids=["crash", "cancel", "driver's death"],
)  # fmt: skip
def test_it_ends_with_the_job(fate: str, then: signal.Signals | None, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    python = warm_python.starter() if then is None else [sys.executable]
    driver = subprocess.Popen(
        [*python, "app.py", fate, str(tmp_path)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_for((tmp_path / "child").exists)
    child = int((tmp_path / "child").read_text())
    if then is not None:
        assert not is_gone(child)
        driver.send_signal(then)
    output = driver.communicate(timeout=120)[0]
    assert driver.returncode, output
    wait_for(lambda: is_gone(child))
    kept, worker = map(int, (tmp_path / "kept").read_text().split())
    assert outlives(kept, worker)
