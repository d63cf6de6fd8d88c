"""Threads that work in order, and that no process waits for."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

import pytest

from ray_decorator.run.engine.daemon_pool import DaemonPool


def test_work_is_done_by_at_most_so_many_threads() -> None:
    names: set[str] = set()
    done = threading.Semaphore(0)

    def work() -> None:
        names.add(threading.current_thread().name)
        done.release()

    pool = DaemonPool(2, "pool")
    for _ in range(50):
        pool.submit(work)
    for _ in range(50):
        assert done.acquire(timeout=10)
    assert names <= {"pool-0", "pool-1"}
    pool.close()


def test_work_that_raises_is_logged_and_the_thread_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()
    pool = DaemonPool(1, "pool")
    with caplog.at_level(logging.ERROR):
        pool.submit(lambda: 1 / 0)
        pool.submit(done.set)
        assert done.wait(10)
    assert "division by zero" in caplog.text
    pool.close()


def test_a_process_ends_while_work_is_under_way() -> None:
    code = (
        "import time; from ray_decorator.run.engine.daemon_pool import DaemonPool\n"
        "DaemonPool(1, 'pool').submit(lambda: time.sleep(60)); print('end')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "end\n")
