"""On a terminal: a line per phase at its foot, and one for what has no count, redrawn in place."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ..core.units import human_seconds, human_size
from .counts import Counting, Doing, Tally

if TYPE_CHECKING:
    from .screen import Row, Screen

_REDRAW_SECONDS = 0.2

_terminal = threading.Lock()
"""Held by the one RichProgress that draws; others, in other threads, stay unseen until it has finished."""


class RichProgress(Counting):
    """A line per phase at the foot of the terminal, below all other output; removed when done."""

    def __init__(self) -> None:
        super().__init__(_REDRAW_SECONDS)
        self._screen: Screen | None = None

    def _show(self) -> None:
        tallies, under_way = self.tallies(), self.under_way()
        if self._screen is None:
            if not (tallies or under_way) or not _terminal.acquire(blocking=False):
                return
            from .screen import Screen  # lazy: it imports rich

            self._screen = Screen()
        self._screen.draw([_row(tally) for tally in tallies], [_line(doing) for doing in under_way])

    def _close(self) -> None:
        if self._screen is not None:
            self._screen.close()
            _terminal.release()


def _line(doing: Doing) -> str:
    return f"{doing.what}  {human_seconds(time.monotonic() - doing.since)}"


def _row(tally: Tally) -> Row:
    from .screen import Row

    fraction = f"{tally.items_done}/{tally.items}"
    if tally.phase == "running":
        return Row(tally.phase, tally.share, (f"jobs {fraction} done", human_seconds(tally.seconds)))
    size = f"{human_size(tally.size_done)}/{human_size(tally.size)}" if tally.size else ""
    return Row(tally.phase, tally.share, (f"{fraction} files", size, tally.rate))
