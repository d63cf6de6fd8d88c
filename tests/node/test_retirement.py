"""On the driver's machine, a process whose job has left something takes no further job; others serve on."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from outliving import outlives

from ray_decorator import ray_decorator
from ray_decorator.node import retirement


@ray_decorator()
def job(leaves: str, directory: str) -> tuple[int, str]:
    """What an earlier job in this process has left of itself, and its pid."""
    before = getattr(sys, "_left_by_a_test", "")
    print("it prints")
    os.write(2, b"")
    if leaves == "daemon that is the job's":
        sys._left_by_a_test = leaves  # type: ignore[attr-defined]
        threading.Thread(target=idles, args=(threading.Event(),), daemon=True).start()
    elif leaves == "kept child":
        environ = {**os.environ, "RAY_S3_KEEP": "1"}
        child = subprocess.Popen(["sleep", "600"], env=environ, start_new_session=True)
        Path(directory, "kept").write_text(str(child.pid))
    elif leaves == "no streams":
        sys.stdout.close()
        sys.stderr = None
        os.close(2)
    elif leaves == "library that has ended":
        library = compile("register(path.write_text, 'called')", "/x/site-packages/wandb.py", "exec")
        exec(library, {"register": atexit.register, "path": Path(directory, "called")})
    return os.getpid(), before


def idles(event: threading.Event) -> None:
    event.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.usefixtures("ray_session")
def test_no_job_meets_what_another_has_left(tmp_path: Path) -> None:
    def run(leaves: str) -> tuple[int, str]:
        return job(leaves, str(tmp_path))

    pids = {run("nothing")[0] for _ in range(4)}
    pids |= {run("no streams")[0] for _ in range(2)}  # to which Ray writes at the end of each task
    assert len(pids) <= 2, "processes serve on"
    worn, _ = run("daemon that is the job's")
    after = [run("nothing") for _ in range(4)]
    assert worn not in {pid for pid, _ in after} and {met for _, met in after} == {""}
    worn, _ = run("library that has ended")
    assert (tmp_path / "called").read_text() == "called"
    assert worn not in {run("nothing")[0] for _ in range(4)}
    worn, _ = run("kept child")
    assert worn not in {run("nothing")[0] for _ in range(4)}
    assert outlives(int((tmp_path / "kept").read_text()), worn)


def test_it_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_ray_s3_retired", True, raising=False)
    assert retirement.is_retired() and not retirement.is_retired()


def test_where_ray_cannot_end_it_a_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_decorator.cluster.ray_api.end_worker_with_next_task", lambda: False)
    retirement.retire()
    assert not retirement.is_retired()
