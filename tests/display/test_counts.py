"""Counting: from many threads, for next to nothing."""

from __future__ import annotations

import threading
import time

import pytest

from ray_decorator.core.progress import NoProgress, Progress
from ray_decorator.display import counts
from ray_decorator.display.live import RichProgress
from ray_decorator.display.log_lines import LogProgress


@pytest.mark.parametrize("kind", [RichProgress, LogProgress, NoProgress])
def test_an_item_costs_next_to_nothing(kind: type[RichProgress | LogProgress | NoProgress]) -> None:
    counter = kind()
    counter.expect("uploading", 100_000, 10**9)
    best = min(_cpu_seconds_for_100_000(counter) for _ in range(3))
    assert best < 0.1


def _cpu_seconds_for_100_000(counter: Progress) -> float:
    begin = time.thread_time()
    for _ in range(100_000):
        counter.advance("uploading", 1, 10_000)
    return time.thread_time() - begin


def test_no_count_is_lost_between_threads() -> None:
    counter = LogProgress()

    def work() -> None:
        for _ in range(5_000):
            counter.expect("hashing", 1, 10)
            counter.advance("hashing", 1, 10)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (tally,) = counter.tallies()
    assert (tally.items, tally.items_done, tally.size, tally.size_done) == (40_000, 40_000, 400_000, 400_000)


def test_seconds_count_only_while_something_is_left_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(counts.time, "monotonic", lambda: now)
    counter = LogProgress()
    for _ in range(3):
        counter.expect("downloading", 1, 1_000_000)
        now += 1.0
        counter.advance("downloading", 1, 1_000_000)
        now += 100.0
    (tally,) = counter.tallies()
    assert (tally.seconds, tally.rate, tally.finished) == (3.0, "1.0 MB/s", True)
