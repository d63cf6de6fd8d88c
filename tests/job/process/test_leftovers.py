"""A job's threads are waited for, its processes are ended, and nothing else is."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ray_decorator.job.process import leftovers, processes
from ray_decorator.job.process.leftovers import Before, adopt_orphans, alone

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def earlier() -> Iterator[subprocess.Popen[bytes]]:
    """A process that was there before the job."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait(60)


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_text().strip():
        assert time.monotonic() < deadline, f"{path} is not written"
        time.sleep(0.02)
    return path.read_text()


def has_ended(pid: int) -> bool:
    return not processes.runs(pid)


def test_its_threads_are_waited_for_also_when_it_fails() -> None:
    done: list[int] = []
    with pytest.raises(ValueError, match="the job's own"), alone("#0"):
        threading.Thread(target=lambda: (time.sleep(0.3), done.append(1))).start()
        raise ValueError("the job's own")
    assert done == [1]


def test_what_it_waits_for_is_said(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_SAY_SECONDS", 0.0)
    with alone("#3"):
        threading.Thread(target=time.sleep, args=(0.3,), name="saves").start()
    assert capfd.readouterr().err == "ray-s3: #3 waits for its threads (saves)\n"


def test_work_of_a_pool_is_waited_for_and_an_idle_pool_serves_on() -> None:
    done: list[int] = []
    with alone("#0"):
        pool = ThreadPoolExecutor(2)
        for number in range(4):
            pool.submit(lambda n=number: (time.sleep(0.1), done.append(n)))
    assert sorted(done) == [0, 1, 2, 3]
    assert pool.submit(int, "7").result(60) == 7
    pool.shutdown()


def test_daemon_threads_and_earlier_ones_are_not_waited_for() -> None:
    goes_on = threading.Event()
    threading.Thread(target=goes_on.wait, args=(60,)).start()
    with alone("#0"):
        threading.Thread(target=goes_on.wait, args=(60,), daemon=True).start()
    goes_on.set()


def test_a_cancelled_one_is_not_waited_for() -> None:
    goes_on = threading.Event()
    with pytest.raises(KeyboardInterrupt), alone("#0"):
        threading.Thread(target=goes_on.wait, args=(60,)).start()
        raise KeyboardInterrupt
    goes_on.set()


@pytest.mark.parametrize("has_proc", [pytest.param(True, marks=linux), False], ids=["proc", "ps"])
def test_its_children_end_and_what_was_there_before_or_is_to_be_kept_does_not(
    has_proc: bool, earlier: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "HAS_PROC", has_proc)
    with alone("#0"):
        child = subprocess.Popen(["sleep", "600"])
        kept = subprocess.Popen(["sleep", "600"], env={**os.environ, "RAY_S3_KEEP": "1"})
    assert has_ended(child.pid)
    assert not has_ended(earlier.pid) and not has_ended(kept.pid)
    kept.kill()
    kept.wait(60)


@linux
def test_a_daemon_in_a_session_of_its_own_ends_and_leaves_no_zombie(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with alone("#0"):
        subprocess.run(["sh", "-c", f"setsid sh -c 'echo $$ > {pid}; exec sleep 600' &"], check=True)
        orphan = int(wait_for(pid))
        assert os.getsid(orphan) != os.getsid(0)
    assert not Path(f"/proc/{orphan}").exists()
    assert adopt_orphans(False) is False


@linux
def test_one_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_TERM_SECONDS", 0.2)
    ready = tmp_path / "ready"
    with alone("#0"):
        child = subprocess.Popen(["sh", "-c", f"trap '' TERM; echo 1 > {ready}; while :; do sleep 0.1; done"])
        wait_for(ready)
    assert has_ended(child.pid)


@linux
def test_python_s_own_helper_lives_on() -> None:
    code = (
        "import multiprocessing, os\nfrom multiprocessing import resource_tracker\n"
        "from ray_decorator.job.process.leftovers import alone\n"
        "with alone('#0'):\n    resource_tracker.ensure_running()\n"
        "    line = f'/proc/{resource_tracker._resource_tracker._pid}/cmdline'\n"
        "    while b'resource_tracker' not in open(line, 'rb').read():\n        pass\n"
        "print(resource_tracker._resource_tracker._check_alive())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("True\n", "")


ENDING = """
import atexit, multiprocessing, sys, threading, time

def say(*words):
    print(*words, flush=True)

def later(seconds, *words):
    time.sleep(seconds)
    say(*words)

def order():
    atexit.register(say, "registered before the child")
    multiprocessing.Process(target=later, args=(0.3, "child")).start()
    atexit.register(say, "registered after it")
    threading.Thread(target=later, args=(0.1, "thread")).start()
    raise ValueError("the job's own")

def stops():
    global manager, pool, open_pool
    from concurrent.futures import ProcessPoolExecutor
    stop = multiprocessing.Event()
    atexit.register(stop.set)
    multiprocessing.Process(target=stop.wait, args=(60,)).start()
    manager, pool = multiprocessing.Manager(), ProcessPoolExecutor(1)
    say(pool.submit(int, "7").result())
    open_pool = multiprocessing.Pool(1)
    say(open_pool.map(int, ["3"]))
    atexit.register(lambda: 1 / 0)

multiprocessing.set_start_method("fork")
job = globals()[sys.argv[2]]
if sys.argv[1] == "alone":
    from ray_decorator.job.process.leftovers import alone
    with alone("#0"):
        job()
else:
    job()
"""


@pytest.mark.parametrize("job", ["order", "stops"])
def test_it_ends_as_python_ends(tmp_path: Path, job: str) -> None:
    (tmp_path / "program.py").write_text(ENDING)
    ran = [
        subprocess.run(
            [sys.executable, "program.py", where, job],
            cwd=tmp_path, capture_output=True, text=True, timeout=60,
        )
        for where in ("at home", "alone")
    ]  # fmt: skip
    assert ran[0].stdout == ran[1].stdout != ""
    assert ran[0].returncode == ran[1].returncode == int(job == "order")
    ends = (
        ["ValueError: the job's own"] if job == "order" else ["Exception ignored in atexit callback", "Zero"]
    )
    assert all(each.stderr.count(end) == 1 for each in ran for end in ends), ran


def test_a_cancelled_one_waits_for_no_process_and_not_long_for_what_it_has_registered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leftovers, "_CANCELLED_SECONDS", 0.2)
    called, goes_on = [], threading.Event()
    with pytest.raises(KeyboardInterrupt), alone("#0"):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        child.start()
        atexit.register(called.append, "too late")
        atexit.register(goes_on.wait, 60)
        atexit.register(called.append, "last")
        raise KeyboardInterrupt
    assert called == ["last"] and not child.is_alive()
    goes_on.set()


def test_a_process_where_a_library_has_ended_takes_no_further_job(tmp_path: Path) -> None:
    before, called = Before(), []
    with alone("#0"):
        atexit.register(called.append, "the job's own")
    assert not before.is_left()
    library = tmp_path / "site-packages" / "wandb.py"
    with alone("#1"):
        exec(
            compile("atexit.register(append, 'a library')", library, "exec"),
            {"atexit": atexit, "append": called.append},
        )
    assert called == ["the job's own", "a library"]
    assert before.is_left() and not Before().is_left()
