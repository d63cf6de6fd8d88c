"""How far each phase is, counted for next to nothing.

Counting is apart from showing: expect() and advance() add to a few numbers, and a thread looks at these a
few times a second. So an item costs well below a microsecond, however many there are.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self, get_args

from ..core.progress import Phase
from ..core.units import human_size


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a phase is. ``seconds`` counts only the time in which there was something left to do."""

    phase: Phase
    items: int
    size: int
    items_done: int
    size_done: int
    seconds: float

    @property
    def finished(self) -> bool:
        return self.items_done >= self.items

    @property
    def share(self) -> float:
        """Between 0 and 1: of the bytes where these are known, else of the items."""
        done, of = (self.size_done, self.size) if self.size else (self.items_done, self.items)
        return min(done / of, 1.0) if of else 1.0

    @property
    def rate(self) -> str:
        """``35 MB/s``, on the average; empty as long as it is unknown."""
        if not self.size_done or self.seconds < 0.1:
            return ""
        return f"{human_size(self.size_done / self.seconds)}/s"


@dataclass(frozen=True, slots=True)
class Doing:
    """What happens without anything to count, and when it began, by time.monotonic()."""

    what: str
    since: float


class _Count:
    """The numbers of one phase so far; guarded by the lock of the Counting that owns it."""

    __slots__ = ("busy", "items", "items_done", "since", "size", "size_done")

    def __init__(self) -> None:
        self.items = self.size = self.items_done = self.size_done = 0
        self.busy = 0.0
        self.since = 0.0


class Counting:
    """Counts all phases; a thread shows them every ``interval`` seconds until stop()."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._counts: dict[Phase, _Count] = {phase: _Count() for phase in get_args(Phase)}
        self._doing: list[Doing] = []
        self._stopped = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    def expect(self, phase: Phase, items: int, size: int = 0) -> None:
        with self._lock:
            count = self._counts[phase]
            if count.items_done >= count.items:
                count.since = time.monotonic()
            count.items += items
            count.size += size

    def advance(self, phase: Phase, items: int, size: int = 0) -> None:
        with self._lock:
            count = self._counts[phase]
            count.size_done += size
            before = count.items_done
            count.items_done = before + items
            if before < count.items <= count.items_done:
                count.busy += time.monotonic() - count.since

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        one = Doing(what, time.monotonic())
        with self._lock:
            self._doing.append(one)
        try:
            yield
        finally:
            with self._lock:
                self._doing.remove(one)

    def under_way(self) -> list[Doing]:
        """What happens now without anything to count, the oldest first."""
        with self._lock:
            return list(self._doing)

    def tallies(self) -> list[Tally]:
        """How far each phase is that has expected something."""
        with self._lock:
            now = time.monotonic()
            return [_tally(phase, count, now) for phase, count in self._counts.items() if count.items]

    def stop(self) -> None:
        """Show the final counts, and leave the terminal as it was. May be called twice."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        if self._ticker.is_alive():
            self._ticker.join()
        self._close()

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _tick(self) -> None:
        while not self._stopped.wait(self._interval):
            self._show()

    def _show(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError


def _tally(phase: Phase, count: _Count, now: float) -> Tally:
    under_way = count.items_done < count.items
    seconds = count.busy + (now - count.since if under_way else 0.0)
    return Tally(phase, count.items, count.size, count.items_done, count.size_done, seconds)
