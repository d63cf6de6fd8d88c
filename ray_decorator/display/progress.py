"""What the user sees while it works.

    workers, tests, calls inside other programs     NoProgress    nothing
    a terminal                                      RichProgress  a line per phase, redrawn in place
    elsewhere: a file, a pipe, a batch system       LogProgress   a log line per phase now and then

Counting is apart from showing: expect and advance add to a few numbers, and a thread looks at these a
few times a second. So an item costs well below a microsecond, however many there are.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, get_args

from ..core.progress import Phase
from ..core.units import human_seconds, human_size

if TYPE_CHECKING:
    from .screen import Row, Screen

log = logging.getLogger(__name__)

_REDRAW_SECONDS = 0.2
_LOG_SECONDS = 10.0
_LOG_SHARE = 0.1
"""Log lines of a long phase come ever more seldom: each after a tenth of the time spent so far."""

_terminal = threading.Lock()
"""Held by the one RichProgress that draws; another one, in another thread, waits for its turn unseen."""


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
        """``35 MB/s``, on the average; empty while it cannot be told."""
        if not self.size_done or self.seconds < 0.1:
            return ""
        return f"{human_size(self.size_done / self.seconds)}/s"


class _Count:
    """The running numbers of one phase; guarded by the lock of the _Counting that owns it."""

    __slots__ = ("busy", "items", "items_done", "since", "size", "size_done")

    def __init__(self) -> None:
        self.items = self.size = self.items_done = self.size_done = 0
        self.busy = 0.0
        self.since = 0.0


class _Counting:
    """Counts for all phases, and a thread that shows them every ``interval`` seconds until stop()."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._counts: dict[Phase, _Count] = {phase: _Count() for phase in get_args(Phase)}
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

    def tallies(self) -> list[Tally]:
        """The phases that expected something so far."""
        with self._lock:
            now = time.monotonic()
            return [_tally(phase, count, now) for phase, count in self._counts.items() if count.items]

    def stop(self) -> None:
        """Show the last of it, and leave the screen as it was. May be called twice."""
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


class RichProgress(_Counting):
    """A line per phase at the foot of the terminal; other output passes above; gone when done."""

    def __init__(self) -> None:
        super().__init__(_REDRAW_SECONDS)
        self._screen: Screen | None = None

    def _show(self) -> None:
        tallies = self.tallies()
        if self._screen is None:
            if not tallies or not _terminal.acquire(blocking=False):
                return
            from .screen import Screen  # lazy: it imports rich

            self._screen = Screen()
        self._screen.draw([_row(tally) for tally in tallies])

    def _close(self) -> None:
        if self._screen is not None:
            self._screen.close()
            _terminal.release()


class LogProgress(_Counting):
    """A log line per phase now and then, and one for what was done in the end."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self._told: dict[Phase, tuple[int, int]] = {}
        self._due: dict[Phase, float] = {}
        self._began = time.monotonic()

    def _show(self) -> None:
        now = time.monotonic()
        pause = max(_LOG_SECONDS, _LOG_SHARE * (now - self._began))
        for tally in self.tallies():
            if now >= self._due.setdefault(tally.phase, now + pause) and self._tell(tally):
                self._due[tally.phase] = now + pause

    def _close(self) -> None:
        for tally in self.tallies():
            self._tell(tally)

    def _tell(self, tally: Tally) -> bool:
        """Log the tally, unless nothing has been done since it was told last."""
        done = (tally.items_done, tally.size_done)
        news = done != self._told.get(tally.phase, (0, 0))
        if news:
            self._told[tally.phase] = done
            log.info("%s: %s", tally.phase, _line(tally))
        return news


def make_progress() -> RichProgress | LogProgress:
    """What suits stderr: live lines on a terminal that can redraw, else log lines."""
    if not sys.stderr.isatty():
        return LogProgress()
    from rich.console import Console  # lazy: workers import this module

    return RichProgress() if Console(stderr=True).is_interactive else LogProgress()


def _tally(phase: Phase, count: _Count, now: float) -> Tally:
    under_way = count.items_done < count.items
    seconds = count.busy + (now - count.since if under_way else 0.0)
    return Tally(phase, count.items, count.size, count.items_done, count.size_done, seconds)


def _row(tally: Tally) -> Row:
    from .screen import Row

    fraction = f"{tally.items_done}/{tally.items}"
    if tally.phase == "running":
        return Row(tally.phase, tally.share, (f"jobs {fraction} done", human_seconds(tally.seconds)))
    size = f"{human_size(tally.size_done)}/{human_size(tally.size)}" if tally.size else ""
    return Row(tally.phase, tally.share, (f"{fraction} files", size, tally.rate))


def _line(tally: Tally) -> str:
    noun = ("job" if tally.phase == "running" else "file") + ("" if tally.items == 1 else "s")
    if tally.finished:
        items, size = f"{tally.items_done} {noun}", human_size(tally.size_done)
    else:
        items = f"{tally.items_done} of {tally.items} {noun}"
        size = f"{human_size(tally.size_done)} of {human_size(tally.size)}"
    parts = [items, size if tally.size_done else "", human_seconds(tally.seconds), tally.rate]
    return ", ".join(part for part in parts if part)
