"""Sockets with long paths: where they are instead, and that a killed process's directory goes."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ray_decorator.job.disk import sockets
from ray_decorator.job.disk.room import tidy
from ray_decorator.job.disk.sockets import clear_dead, dead_directories, socket_path

LONG = "d" * 120
LISTENS = """
import contextlib, os, socket, sys
from pathlib import Path
from ray_decorator.job.disk import sockets
sockets._SHORT = sys.argv[1]
listener = socket.socket(socket.AF_UNIX)
path = sockets.socket_path(Path(sys.argv[2]), contextlib.ExitStack())
listener.bind(str(path))
listener.listen()
print(path, flush=True)
sys.stdin.read()
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for /tmp, where other tests' processes are."""
    path = tmp_path / "s"
    path.mkdir()
    monkeypatch.setattr(sockets, "_SHORT", str(path))
    return path


def test_a_path_that_is_short_enough_is_beside_the_files(short: Path) -> None:
    with contextlib.ExitStack() as stack:
        assert socket_path(Path("/node"), stack) == Path("/node/s")
        long = socket_path(Path("/", LONG), stack)
        assert long.parent.parent == short and long.parent.stat().st_mode & 0o777 == 0o700
    assert not long.parent.exists()


def test_a_killed_process_leaves_one_that_goes_and_the_living_keep_theirs(
    short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = [sys.executable, "-c", LISTENS, str(short), f"/{LONG}"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        path = process.stdout.readline().strip()
        starting, mine = short / "ray_s3_aws_new", short / "ray_s3_mine"
        starting.mkdir(), mine.mkdir()
        os.symlink(mine, short / "ray_s3_aws_link")
        assert list(dead_directories()) == []
        process.stdin.close()
        process.wait(60)
    assert list(dead_directories()) == [os.path.dirname(path)]
    os.utime(starting, (0, 0))
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "node"))
    tidy()
    assert sorted(entry.name for entry in short.iterdir()) == ["ray_s3_aws_link", "ray_s3_mine"]


def test_one_that_has_more_to_answer_than_it_can_is_alive(short: Path) -> None:
    folder = short / "ray_s3_aws_busy"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as waiting:
        listener.bind(str(folder / "s"))
        listener.listen(0)
        for _ in range(3):
            one = waiting.enter_context(socket.socket(socket.AF_UNIX))
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(str(folder / "s"))
        clear_dead()
        assert folder.exists()
