"""Work that is left to a thread or two, and what happens where these cannot keep up or fail."""

from __future__ import annotations

import threading
import time

import pytest

from ray_decorator.content.threads import Writers, each


def test_all_is_done_by_the_two_threads() -> None:
    done: list[int] = []
    threads: set[int] = set()

    def work(item: int) -> None:
        done.append(item)
        threads.add(threading.get_ident())

    with Writers(work, most=8, threads=2) as writer:
        each(writer.submit, range(5000), 16)
    assert sorted(done) == list(range(5000))
    assert 1 <= len(threads) <= 2 and threading.get_ident() not in threads


def test_work_that_waits_is_done_by_all() -> None:
    threads: set[int] = set()

    def work(item: int) -> None:
        time.sleep(0.01)
        threads.add(threading.get_ident())

    with Writers(work, most=4) as writer:
        each(writer.submit, range(200), 8)
    assert len(threads) > 4


def test_its_error_is_raised_and_ends_the_work() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 3:
            raise OSError("the disk is full")
        done.append(item)

    with pytest.raises(OSError, match="the disk is full"), Writers(work, most=8, threads=1) as writer:
        for item in range(1000):
            writer.submit(item)
    assert done == [0, 1, 2]


def test_after_an_error_elsewhere_the_rest_is_left_undone() -> None:
    begun, done = threading.Event(), []

    def work(item: int) -> None:
        begun.wait()
        time.sleep(0.05)
        done.append(item)

    with pytest.raises(ValueError, match="elsewhere"), Writers(work, most=100) as writer:
        for item in range(50):
            writer.submit(item)
        begun.set()
        raise ValueError("elsewhere")
    assert len(done) < 10


def test_with_two_threads_the_first_error_ends_the_work() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item >= 3:
            raise OSError("the disk is full")
        done.append(item)

    with pytest.raises(OSError, match="the disk is full"), Writers(work, most=8, threads=2) as writer:
        for item in range(1000):
            writer.submit(item)
    assert sorted(done) == [0, 1, 2]
