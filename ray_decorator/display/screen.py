"""Rows at the foot of the terminal, below all that anybody prints meanwhile.

rich's own Live replaces sys.stdout and sys.stderr. Hydra's log handlers hold the streams themselves,
made before the launcher starts, and would write into the rows. So each stream stays where it is, and
its ``write`` is led through here: rows off, text on, rows back, in one write to the terminal. The rows
are rendered once a redraw and not once a line, so that a job may print a lot.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_BAR_COLUMNS = 20
_COLUMNS_FOR_BARS = 75

Write = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Row:
    """A label, a bar filled to ``share`` (0 to 1), and short texts in columns."""

    label: str
    share: float
    texts: tuple[str, ...]


class Screen:
    """Owns the terminal behind stderr until close(): draw() puts rows there in place of the last ones.

    The cursor stays visible and at the start of the line below the rows: a process that is killed
    leaves a usable terminal, and what a library writes past Python starts on a line of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._console = Console(stderr=True)
        self._rows = ""
        self._stderr = sys.stderr
        self._write: Write = sys.stderr.write
        self._diverted = [
            _Diverted(stream, self._above, self._lock)
            for stream in dict.fromkeys((sys.stderr, sys.stdout))
            if stream.isatty()  # what goes to a file cannot tear the rows, and must go there
        ]

    def draw(self, rows: Sequence[Row]) -> None:
        """Show these rows instead of the ones that stand there."""
        with self._console.capture() as capture:
            self._console.print(_grid(rows, bars=self._console.width >= _COLUMNS_FOR_BARS))
        with self._lock:
            if capture.get() != self._rows:
                self._replace("", capture.get())

    def close(self) -> None:
        """Take the rows off, and let the streams go."""
        with self._lock:
            self._replace("", "")
            for diverted in self._diverted:
                diverted.restore()

    def _above(self, text: str) -> None:
        with self._lock:
            self._replace(text, self._rows)

    def _replace(self, text: str, rows: str) -> None:
        height = self._rows.count("\n")
        erase = f"\r\x1b[{height}A\x1b[J" if height else ""
        self._rows = rows
        with contextlib.suppress(OSError):  # a terminal that is gone must not fail the work
            self._write(erase + text + rows)
            self._stderr.flush()


class _Diverted:
    """A stream whose whole lines go to ``above``, and whose unfinished line waits for its end."""

    def __init__(self, stream: TextIO, above: Callable[[str], None], lock: threading.RLock) -> None:
        stream.flush()
        self._stream = stream
        self._above = above
        self._lock = lock
        self._write: Write = stream.write
        self._unfinished = ""
        self._open = True
        self._pid = os.getpid()
        stream.write = self.write  # type: ignore[method-assign]

    def write(self, text: str) -> int:
        if os.getpid() != self._pid:  # a forked child: neither the rows nor the lock's state are its own
            return self._write(text)
        with self._lock:
            if not self._open:  # someone kept this method beyond the end
                return self._write(text)
            lines, newline, self._unfinished = (self._unfinished + text).rpartition("\n")
            if newline:
                self._above(lines + newline)
        return len(text)

    def restore(self) -> None:
        with self._lock:
            self._open = False
            self._stream.write = self._write  # type: ignore[method-assign]
            if self._unfinished:
                self._write(self._unfinished)
                self._stream.flush()


def _grid(rows: Sequence[Row], bars: bool) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        bar = ProgressBar(total=1.0, completed=row.share, width=_BAR_COLUMNS)
        texts = (Text(text, no_wrap=True) for text in row.texts)
        grid.add_row(Text(row.label, no_wrap=True), *([bar] if bars else []), *texts)
    return grid
