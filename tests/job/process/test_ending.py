"""However a job's process ends itself, it is known afterwards; what does not end it leaves no trace."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ray_decorator.core.machine import directories
from ray_decorator.job.process.ending import code_of, note

PROGRAM = """
import os, resource, signal, sys
from pathlib import Path
from ray_decorator.job.process.ending import noted
from os import kill as kept_before
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
def child(end):
    if (pid := os.fork()) == 0:
        end()
    os.waitpid(pid, 0)
with noted(Path(sys.argv[1])):
    exec(sys.argv[2])
"""


def ended(directory: Path, code: str) -> tuple[int, int | None]:
    """The exit code that its parent sees, and the one that was noted."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(directory), code], timeout=60)
    return done.returncode, code_of(directory)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("os._exit(5)", 5),
        ("os._exit(0)", 0),
        ("os._exit(status=300)", 44),
        ("os.abort()", -signal.SIGABRT),
        ("os.kill(os.getpid(), 9)", -9),
        ("os.kill(os.getpid(), signal.SIGTERM)", -15),
        ("signal.raise_signal(signal.SIGSEGV)", -11),
        ("signal.raise_signal(40)", -40),
        ("import threading; threading.Thread(target=os._exit, args=(6,)).start(); signal.pause()", 6),
    ],
)
def test_what_ends_it_is_noted(code: str, expected: int, tmp_path: Path) -> None:
    assert ended(tmp_path, code) == (expected, expected)


@pytest.mark.parametrize(
    "code",
    [
        "signal.signal(signal.SIGUSR1, print); os.kill(os.getpid(), signal.SIGUSR1)",
        "os.kill(os.getpid(), 0); os.kill(os.getpid(), signal.SIGCHLD)",
        "child(lambda: os._exit(7)); child(lambda: os.kill(os.getpid(), 9))",
        "child(lambda: os.kill(os.getppid(), 0) or os._exit(0))",
        "pass",
    ],
)
def test_what_does_not_end_it_is_not(code: str, tmp_path: Path) -> None:
    assert ended(tmp_path, code) == (0, None)


def test_arguments_that_are_none_raise_as_at_home(tmp_path: Path) -> None:
    assert ended(tmp_path, "os._exit('text')") == (1, None)
    assert ended(tmp_path, "os.kill(os.getpid(), 4000)") == (1, None)


def test_who_waits_for_it_notes_it_of_the_newest_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path))
    note("an-id", -11)  # there is none
    attempt = directories.node_directory("jobs") / "an-id" / "attempt-a"
    attempt.mkdir(parents=True)
    note("an-id", -11)
    assert code_of(attempt) == -11
    (attempt / ".ended").write_text("")
    assert code_of(attempt) is None
