"""How many jobs are in flight at once."""

from __future__ import annotations

import threading

import pytest

from ray_decorator.core.errors import ClusterError
from ray_decorator.run.engine.window import Window


def taken_at_once(window: Window, of: int) -> int:
    """How many of so many threads get a place."""
    got = threading.Semaphore(0)

    def take() -> None:
        window.acquire()
        got.release()

    for _ in range(of):
        threading.Thread(target=take, daemon=True).start()
    count = 0
    while got.acquire(timeout=0.3):
        count += 1
    return count


@pytest.mark.parametrize(
    ("capacity", "most", "expected"), [(1, None, 64), (50, None, 100), (50, 3, 3), (0, 80, 64)]
)
def test_twice_what_the_cluster_runs_at_least_64_at_most_what_is_asked_for(
    capacity: int, most: int | None, expected: int
) -> None:
    assert taken_at_once(Window(lambda: capacity, most), 120) == expected


def test_a_place_that_is_given_back_is_taken() -> None:
    window = Window(lambda: 1, 1)
    window.acquire()
    waiting = threading.Thread(target=window.acquire)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    window.release()
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_cluster_that_grows_makes_room() -> None:
    sizes = iter([1, 1, *([100] * 1000)])
    assert taken_at_once(Window(lambda: next(sizes), None), 66) == 66


def test_who_waits_gets_the_error_of_a_lost_cluster() -> None:
    window = Window(lambda: 1, 1)
    window.acquire()
    threading.Timer(0.1, window.fail, [ClusterError("gone")]).start()
    with pytest.raises(ClusterError, match="gone"):
        window.acquire()
