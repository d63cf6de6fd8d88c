"""How much is under way at once, as a line shows what it bears."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from ray_decorator.core.errors import StoreUnreachableError
from ray_decorator.store.transport import uplink
from ray_decorator.store.transport.uplink import FIRST, LEAST, Uplink

MIB = 1 << 20


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(uplink.time, "monotonic", lambda: self.now)


def test_a_line_that_is_fast_gets_more_at_once() -> None:
    line = Uplink("s3://there", 180)
    assert line.most == FIRST == 16 * MIB and not line.slow
    line.took(10_000, 0.001)
    assert line.most == FIRST, "so little says nothing of the rate"
    line.took(8 * MIB, 100)
    assert line.most == FIRST
    line.took(8 * MIB, 4)
    assert line.most == 2 * MIB * 22.5, "what goes out in a quarter of a time-out"
    line.took(8 * MIB, 0.1)
    line.took(8 * MIB, 4)
    assert line.most == 128 * MIB


def test_one_that_answers_nothing_in_time_gets_little_until_it_shows_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line, clock = Uplink("s3://there", 180), Clock(monkeypatch)
    for seconds, most in ((1, FIRST), (89, LEAST)):  # at once: nobody listens there
        with pytest.raises(StoreUnreachableError), line.watched():
            clock.now += seconds
            raise StoreUnreachableError("nobody")
        assert line.most == most
    with line.hold(16 * MIB) as granted:
        assert granted == LEAST and line.slow
    line.took(LEAST, 84)
    assert line.slow
    line.took(LEAST, 1)
    assert not line.slow


def test_uploads_wait_for_each_other_while_any_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    line, sent, held = Uplink("s3://there", 180), list[int](), threading.Event()

    def second() -> None:
        held.set()
        with line.hold(12 * MIB) as granted:
            sent.append(granted)

    with line.hold(12 * MIB), line.hold(100_000):
        thread = threading.Thread(target=second)
        thread.start()
        held.wait(10)
        assert not sent
    thread.join(10)
    assert sent == [12 * MIB]


def test_but_not_for_longer_than_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    line, clock = Uplink("s3://there", 180), Clock(monkeypatch)
    turns: list[float] = []

    def wait(_: float) -> None:
        turns.append(clock.now)
        clock.now += 100
        if len(turns) == 1:
            line.progress = clock.now

    with ExitStack() as stack:
        stack.enter_context(line.hold(12 * MIB))
        monkeypatch.setattr(line._changed, "wait", wait)
        with pytest.raises(
            StoreUnreachableError, match=r"nobody answers for s3://there \(no upload went on for 200 s"
        ):
            stack.enter_context(line.hold(12 * MIB))
    assert len(turns) == 3
