"""What attempts leave on a node: kept for as long as somebody may want it, and no longer."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from disks import disk

from ray_decorator.core.errors import NodeDiskError
from ray_decorator.job.disk.scratch import attempts, open_scratch

pytestmark = pytest.mark.usefixtures("node")

HOUR = 3600


PROGRAM = """
import os, sys
from ray_decorator.job.disk.scratch import open_scratch
with open_scratch(sys.argv[1]) as scratch:
    (scratch.path / "outs").mkdir()
    (scratch.path / "outs" / "log").write_text("half")
    print(scratch.path, flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), 9)
"""


class Attempt:
    """An attempt at a job in a process of its own, which started ``hours`` ago."""

    def __init__(self, job: str, hours: float = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, job], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.path = Path(self._process.stdout.readline().strip())
        self.log = self.path / "outs" / "log"
        pass_time(self.path, hours)

    def crash(self) -> None:
        self._process.communicate()


def pass_time(root: Path, hours: float) -> None:
    """As if all there were so much older. Directories before what is in them: a look changes no mtime."""
    for path in [root, *root.rglob("*")]:
        status = path.stat()
        os.utime(path, (status.st_atime - hours * HOUR, status.st_mtime - hours * HOUR))


def another_job() -> None:
    with open_scratch(uuid.uuid4().hex):
        pass


def test_nothing_stays_of_an_attempt_that_ends(node: Path) -> None:
    with open_scratch("job") as scratch:
        (scratch.path / "outs").mkdir()
        assert attempts("job") == [scratch.path]
    assert list((node / "jobs").iterdir()) == []


def test_what_is_kept_stays_whatever_other_jobs_do(node: Path) -> None:
    with open_scratch("job") as scratch:
        (scratch.path / "outs").mkdir()
        (scratch.path / "outs" / "model").write_text("weights")
        pass_time(scratch.path, 2)
        scratch.keep()
        told = scratch.path
    for _ in range(3):
        pass_time(node, 24)
        another_job()
    assert (told / "outs" / "model").read_text() == "weights"
    assert told.parent == node / "kept"
    assert told.name.startswith("job-")
    assert sorted(os.listdir(told)) == ["outs"]
    assert attempts("job") == [], "so neither a rescue nor another attempt of the job takes it for its own"
    assert list((node / "jobs").iterdir()) == []


def test_what_cannot_be_moved_is_kept_where_it_is(node: Path) -> None:
    with open_scratch("job") as scratch:
        (scratch.path / "model").write_text("weights")
        (node / "kept").write_text("in the way")
        scratch.keep()
    for _ in range(3):
        pass_time(node, 24)
        another_job()
    assert scratch.path.parent == node / "jobs" / "job"
    assert (scratch.path / "model").read_text() == "weights"


def test_a_job_that_crashed_after_hours_can_be_rescued_for_another_hour(node: Path) -> None:
    attempt = Attempt("job", hours=5)
    attempt.crash()
    another_job()
    assert attempts("job") == [attempt.path]
    pass_time(node, 0.9)
    another_job()
    assert attempt.log.read_text() == "half"
    pass_time(node, 0.2)
    another_job()
    assert not attempt.path.exists()
    assert list((node / "jobs").iterdir()) == [], "nor does the job's own directory stay"


def test_what_lives_is_never_cleared(node: Path) -> None:
    job, code = Attempt("job", hours=5), Attempt("code-1", hours=5)
    for _ in range(3):
        another_job()
        pass_time(node, 2)
    assert job.log.exists()
    assert code.log.exists()
    job.crash()
    code.crash()


def test_of_a_job_that_crashed_twice_the_newer_attempt_still_shows_as_such(node: Path) -> None:
    """A rescue takes the one whose directory is the newest."""
    first = Attempt("job", hours=1)
    first.crash()
    second = Attempt("job")
    second.crash()
    another_job()
    assert sorted(attempts("job"), key=lambda path: path.stat().st_mtime) == [first.path, second.path]


def test_attempts_that_crashed_go_when_a_later_one_ends(node: Path) -> None:
    Attempt("job").crash()
    with open_scratch("job") as scratch:
        assert len(attempts("job")) == 2
        assert scratch.path.exists()
    assert list((node / "jobs").iterdir()) == []


def test_code_of_a_dead_runner_goes_at_once(node: Path) -> None:
    code, job = Attempt("code-1"), Attempt("job")
    code.crash()
    job.crash()
    another_job()
    assert not code.path.parent.exists()
    assert job.log.exists()


def test_one_that_is_just_starting_is_not_taken_for_dead() -> None:
    def work(number: int) -> None:
        for _ in range(50):
            with open_scratch(f"code-{uuid.uuid4().hex}") as scratch:
                (scratch.path / "file").write_text("x")
                time.sleep(0.001)
                assert (scratch.path / "file").read_text() == "x"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_two_attempts_of_one_job_side_by_side() -> None:
    """The last one to end removes the job's directory, in which another may be just starting."""

    def work(number: int) -> None:
        for _ in range(50):
            with open_scratch("job") as scratch:
                (scratch.path / "file").write_text("x")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))


def test_on_a_full_disk_what_is_kept_goes_and_then_an_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with disk(tmp_path / "small", "size=1m,nr_inodes=40,mode=700"):
        node = tmp_path / "small" / "node"
        monkeypatch.setenv("RAY_S3_NODE_DIR", str(node))
        another_job()
        kept = node / "cache" / "files" / "aa"
        kept.mkdir(parents=True)
        for number in range(100):
            try:
                (kept / f"{number}").touch()
            except OSError:
                break
        another_job()  # what was kept has made room
        assert list(kept.iterdir()) == []
        for number in range(100):
            try:
                (node / f"of-others-{number}").touch()
            except OSError:
                break
        with pytest.raises(NodeDiskError, match=rf"is full .*are free at {node}.* set RAY_S3_NODE_DIR"):
            another_job()
