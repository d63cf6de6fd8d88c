"""Ranges that come in any order are the object in the end; where one fails, nothing is written any more."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator

import pytest

from ray_decorator.store.transport import ranges
from ray_decorator.store.transport.ranges import Ranges

DATA = os.urandom(100)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "_SHORTEST", 10)
    monkeypatch.setattr(ranges, "_LONGEST", 25)


@pytest.fixture
def fd() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def read(start: int, stop: int) -> Iterator[bytes]:
    for at in range(start, stop, 3):
        yield DATA[at : min(at + 3, stop)]


@pytest.mark.parametrize(("at_once", "each"), [(1, 25), (2, 25), (4, 13), (8, 10)])
def test_an_object_comes_in_ranges_of_middling_length(fd: int, at_once: int, each: int) -> None:
    asked = []

    def noted(start: int, stop: int) -> Iterator[bytes]:
        asked.append((start, stop))
        return read(start, stop)

    pieces = list(Ranges(noted, fd, 100, at_once).ordered(7))
    assert b"".join(pieces) == os.pread(fd, 200, 0) == DATA
    assert max(map(len, pieces)) <= 7
    assert sorted(asked) == [(start, min(start + each, 100)) for start in range(0, 100, each)]


def test_what_comes_before_its_turn_is_kept(fd: int) -> None:
    last = threading.Event()

    def backwards(start: int, stop: int) -> Iterator[bytes]:
        if start == 0:
            assert last.wait(30)
        yield from read(start, stop)
        if stop == 100:
            last.set()

    assert b"".join(Ranges(backwards, fd, 100, 4).ordered(50)) == DATA


def test_no_more_than_a_lead_comes_before_its_turn(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "_LEAD", 30)
    taken, early = 0, []

    def noted(start: int, stop: int) -> Iterator[bytes]:
        early.append(start - taken)
        return read(start, stop)

    for piece in Ranges(noted, fd, 100, 4).ordered(1):
        taken += len(piece)
    assert len(early) == 8 and max(early) <= 30 + 1


@pytest.mark.parametrize("number", [0, 1, 7])
def test_a_range_that_ends_early(fd: int, number: int) -> None:
    def short_of(start: int, stop: int) -> Iterator[bytes]:
        yield from read(start, stop - (start == 10 * number))

    with pytest.raises(EOFError, match=f"it ends after {10 * number + 9} bytes"):
        list(Ranges(short_of, fd, 100, 8).ordered(50))


def test_after_an_error_nothing_is_written(fd: int) -> None:
    begun, over, late = threading.Event(), threading.Event(), threading.Event()

    def failing(start: int, stop: int) -> Iterator[bytes]:
        if start == 20:
            assert begun.wait(30)
            raise OSError("gone")
        yield from read(start, start + 3)
        begun.set()
        assert over.wait(30)
        try:
            yield b"too late"
        finally:
            late.set()

    with (
        pytest.raises(OSError, match="gone"),
        contextlib.closing(Ranges(failing, fd, 100, 8).ordered(50)) as it,
    ):
        list(it)
    before = os.pread(fd, 200, 0)
    over.set()
    assert late.wait(30)
    assert os.pread(fd, 200, 0) == before


def test_a_disk_that_is_full(fd: int) -> None:
    with (
        open("/dev/full", "wb", buffering=0) as full,
        pytest.raises(OSError, match="No space left on device"),
    ):
        list(Ranges(read, full.fileno(), 100, 2).ordered(50))
