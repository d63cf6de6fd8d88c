"""Rows at the foot of the terminal, below all that anybody prints meanwhile.

While rows are shown, the terminal scrolls only the lines above them (a scrolling region, as apt sets one).
So nothing that others write passes through here: prints, tqdm, log handlers that hold a stream from before,
prompts of input() and pdb, subprocesses, forked children and libraries behave and cost as without the rows.

rich's own Live is not used. It knows only of what is written to the sys.stdout and sys.stderr that it puts
in place, redraws with each such write, and ends the line with each flush. Measured, with all log handlers
redirected to it:

    20,000 tqdm refreshes       not done after 60 s, a line left of each    here 3.0 s, without rows 2.7 s
    5,000 prints                6.9 s                                       here 0.04 s
    input(), pdb                the answer is typed at the end of a row
    a subprocess that prints    it starts at the end of a row; its unfinished line is erased
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_BAR_COLUMNS = 20
_COLUMNS_FOR_BARS = 75
_LINES_FOR_OUTPUT = 5

_SAVE, _RESTORE = "\x1b7", "\x1b8"  # position and colours of the cursor
_PLAIN = "\x1b[m"
_DOWN = "\x1bD"
_SCROLL_ALL = f"{_SAVE}\x1b[r{_RESTORE}"
_REMOVE = f"{_SCROLL_ALL}{_PLAIN}\x1b[J{_RESTORE}"
"""Erases what is below the cursor. Where the rows were is not known: a new size may have moved them."""


@dataclass(frozen=True, slots=True)
class Row:
    """A label, a bar filled to ``share`` (0 to 1), and short texts in columns."""

    label: str
    share: float
    texts: tuple[str, ...]


class Screen:
    """Owns the foot of the terminal behind stderr until close(): draw() puts rows there.

    The cursor stays visible and where others put it. A process that is killed leaves a usable terminal: a
    shell that waits for its end then removes the rows.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.fileno()
        self._console = Console(stderr=True)
        self._rows = ""
        self._top = 0
        self._guard: subprocess.Popen[bytes] | None = None

    def draw(self, rows: Sequence[Row], lines_below: Sequence[str] = ()) -> None:
        """Show these in place of the last ones, or nothing if the terminal has too few lines."""
        with contextlib.suppress(OSError):  # a terminal that is gone must not fail the work
            lines = self._rendered(rows, lines_below)
            height = os.get_terminal_size(self._terminal).lines
            if height < len(lines) + _LINES_FOR_OUTPUT:
                lines = []
            self._show(lines, height - len(lines) + 1)

    def close(self) -> None:
        """Remove the rows. May be called where nothing was drawn."""
        if self._guard is not None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self._write(_REMOVE)
                self._guard.communicate(b"\n", timeout=5)

    def _rendered(self, rows: Sequence[Row], lines_below: Sequence[str]) -> list[str]:
        with self._console.capture() as capture:
            if rows:
                self._console.print(_grid(rows, bars=self._console.width >= _COLUMNS_FOR_BARS))
            for line in lines_below:
                self._console.print(Text(line), no_wrap=True, overflow="ellipsis")
        return capture.get().splitlines()

    def _show(self, lines: list[str], top: int) -> None:
        rows = "".join(f"\x1b[{y};1H\x1b[2K{line}" for y, line in enumerate(lines, top))
        if rows == self._rows:
            return
        if self._guard is None:
            self._guard = _start_guard(self._terminal)
        removal = _REMOVE if top != self._top else ""
        # Down and up again: the whole screen scrolls if there are too few lines below the cursor.
        room = f"{_SCROLL_ALL}{len(lines) * _DOWN}\x1b[{len(lines)}A" if lines else ""
        self._rows, self._top = rows, top
        self._write(f"{removal}{room}{_SAVE}\x1b[1;{top - 1}r{_PLAIN}{rows}{_RESTORE}")

    def _write(self, text: str) -> None:
        """Past sys.stderr, in one piece: so it is never inside of what another thread writes."""
        os.write(self._terminal, text.encode())


def _start_guard(terminal: int) -> subprocess.Popen[bytes]:
    """A shell that removes the rows if its input ends without a line, as it does when this process dies.

    It has a session of its own, so that Ctrl-C does not end it before this process.
    """
    command = ["sh", "-c", 'read _ || printf %s "$0"', _REMOVE]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=terminal, stderr=subprocess.DEVNULL, start_new_session=True
    )


def _grid(rows: Sequence[Row], bars: bool) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        bar = ProgressBar(total=1.0, completed=row.share, width=_BAR_COLUMNS)
        texts = (Text(text, no_wrap=True) for text in row.texts)
        grid.add_row(Text(row.label, no_wrap=True), *([bar] if bars else []), *texts)
    return grid
