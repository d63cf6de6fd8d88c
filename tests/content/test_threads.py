"""Work that is left to one thread, and what happens where that thread cannot keep up or fails."""

from __future__ import annotations

import threading
import time

import pytest

from ray_decorator.content.threads import WriterThread, each


def test_all_is_done_by_the_one_thread() -> None:
    done: list[int] = []
    threads: set[int] = set()

    def work(item: int) -> None:
        done.append(item)
        threads.add(threading.get_ident())

    with WriterThread(work, most=8) as writer:
        each(writer.submit, range(5000), 16)
    assert sorted(done) == list(range(5000))
    assert len(threads) == 1


def test_work_that_waits_is_done_by_all() -> None:
    threads: set[int] = set()

    def work(item: int) -> None:
        time.sleep(0.01)
        threads.add(threading.get_ident())

    with WriterThread(work, most=4) as writer:
        each(writer.submit, range(200), 8)
    assert len(threads) > 4


def test_its_error_is_raised_and_ends_the_work() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 3:
            raise OSError("the disk is full")
        done.append(item)

    with pytest.raises(OSError, match="the disk is full"), WriterThread(work, most=8) as writer:
        for item in range(1000):
            writer.submit(item)
    assert done == [0, 1, 2]


def test_after_an_error_elsewhere_the_rest_is_left_undone() -> None:
    begun, done = threading.Event(), []

    def work(item: int) -> None:
        begun.wait()
        time.sleep(0.05)
        done.append(item)

    with pytest.raises(ValueError, match="elsewhere"), WriterThread(work, most=100) as writer:
        for item in range(50):
            writer.submit(item)
        begun.set()
        raise ValueError("elsewhere")
    assert len(done) < 10
