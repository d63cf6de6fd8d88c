"""A runner as its own process: it answers each request, asks with a bound, and ends with its supervisor."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from runner_process import RunnerProcess, runner

from ray_decorator.core.values.stores import Credentials
from ray_decorator.node.messages import AskCredentials, Finished, NestedRay, NewCredentials

__all__ = ["runner"]

_ASKS = """
from ray_decorator.node import runner
runner._ANSWER_SECONDS = {seconds}
raise ValueError(f"it was given {{runner._line.fresh_credentials()}}")
"""


def test_one_job_after_another(runner: RunnerProcess) -> None:
    for number in range(2):
        runner.start(f"raise ValueError('job {number}')")
        assert runner.failure() == f"ValueError: job {number}"


def test_credentials_are_asked_for(runner: RunnerProcess) -> None:
    runner.start(_ASKS.format(seconds=60))
    assert runner.received() == AskCredentials()
    runner.send(NewCredentials(Credentials("key", "secret")))
    assert runner.failure() == "ValueError: it was given Credentials(expires=None)"


def test_a_job_goes_on_where_nobody_answers_or_asking_failed(runner: RunnerProcess) -> None:
    runner.start(_ASKS.format(seconds=0.2))
    assert runner.received() == AskCredentials()
    assert runner.failure() == "ValueError: it was given None"
    runner.send(NewCredentials(Credentials("late", "secret")))
    runner.start(_ASKS.format(seconds=60))
    assert runner.received() == AskCredentials()
    runner.send(NewCredentials(None, "ValueError: the driver is gone"))
    assert runner.failure() == "ValueError: it was given None"
    runner.line.close()
    assert runner.code() == 0
    said = "The driver could not be asked for new credentials: "
    lines = [line for line in runner.stderr().splitlines() if line.startswith(said)]
    assert lines == [f"{said}no answer within 0 s", f"{said}ValueError: the driver is gone"]


def test_an_idle_one_ends_with_its_pipe_and_leaves_nothing(runner: RunnerProcess, tmp_path: Path) -> None:
    runner.start("raise ValueError")
    runner.failure()
    assert list((tmp_path / "node" / "jobs").iterdir())
    runner.line.close()
    assert runner.code() == 0
    assert not list((tmp_path / "node" / "jobs").iterdir())


def test_a_busy_one_is_killed_with_all_that_its_job_has_started(
    runner: RunnerProcess, tmp_path: Path
) -> None:
    runner.start(
        "import subprocess, time\nfrom ray_decorator.node import runner\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "runner.nested_ray_begins()\ntime.sleep(600)"
    )
    assert runner.received() == NestedRay()
    runner.line.close()
    assert runner.code() == -9
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 30
    while not _has_ended(child):
        assert time.monotonic() < deadline, "it runs on"
        time.sleep(0.02)


def _has_ended(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def test_a_thread_that_a_job_has_left_does_not_keep_it(runner: RunnerProcess) -> None:
    runner.start(
        "import threading, time\nfrom ray_decorator.node import runner\nrunner._END_SECONDS = 0.5\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\nraise ValueError('left')"
    )
    assert runner.failure() == "ValueError: left"
    runner.line.close()
    assert runner.code() == -9


def test_a_request_that_cannot_be_read_ends_it(runner: RunnerProcess) -> None:
    runner.line.send_bytes(b"garbage")
    assert runner.code() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("ends", ["its supervisor is gone", "it crashes"])
def test_what_has_a_session_of_its_own_ends_with_a_busy_one(
    ends: str, runner: RunnerProcess, tmp_path: Path
) -> None:
    crash = "os.kill(os.getpid(), 9)\n" if ends == "it crashes" else ""
    runner.start(
        "import os, subprocess, time\nfrom ray_decorator.node import runner\n"
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        f"{crash}runner.nested_ray_begins()\ntime.sleep(600)"
    )
    if not crash:
        assert runner.received() == NestedRay()
        runner.line.close()
    assert runner.code() == -9
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 30
    while not _has_ended(child):
        assert time.monotonic() < deadline, "it runs on"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("leaves", "last"),
    [
        ("threading.Thread(target=time.sleep, args=(600,), daemon=True).start()", False),
        ("threading.Thread(target=forever, daemon=True).start()", True),
        ("subprocess.Popen(['sleep', '600'], env={**os.environ, 'RAY_S3_KEEP': '1'})", True),
        ("subprocess.run(['true'])", False),
    ],
    ids=["a library's thread", "its thread", "its child", "nothing"],
)
def test_one_whose_job_has_left_something_takes_no_other(
    leaves: str, last: bool, runner: RunnerProcess
) -> None:
    runner.start(
        "import os, subprocess, threading, time\n"
        "def forever(sleep=time.sleep):\n    while True:\n        sleep(0.1)\n"
        f"{leaves}\nraise ValueError('left')"
    )
    finished = runner.received()
    assert isinstance(finished, Finished)
    assert finished.last is (last if sys.platform == "linux" or "thread" in leaves else False)
    if finished.last:
        assert runner.code() == 0
    else:
        runner.start("raise ValueError('the next')")
        assert runner.failure() == "ValueError: the next"
