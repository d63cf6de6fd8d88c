"""The table at the end of a sweep: status and result of each job, bytes moved for it, its directory."""

from __future__ import annotations

import numbers
import os
import reprlib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..core.units import human_seconds, human_size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_MOST_ROWS = 50
_ENDS = 5
"""Of a longer sweep, this many of the first and last jobs are shown; failed jobs get the other rows."""

_ENDLESS = 100_000
"""Columns: wide enough for any table, used where the output is no terminal."""

_ROOM = 30
"""Columns: with fewer for overrides and directory together, each job gets a paragraph instead of a row."""

_STYLES = {"COMPLETED": "green", "RESUMED": "green", "FAILED": "red"}
_LONGEST_RESULT = 30
_LONGEST_OVERRIDES = 120


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job of a sweep. ``sent`` and ``received`` are the bytes uploaded and downloaded for it.

    ``status`` is COMPLETED, RESUMED (done by an earlier run), FAILED or CANCELLED; ``result`` is brief(return value);
    ``attempts`` is how often it was started, which is shown where any was more than once. ``failed`` are the keys of
    outs in the directory's ``failed``, shown where any job has left some there.
    """

    number: int
    overrides: str
    status: str
    seconds: float
    result: str
    sent: int
    received: int
    directory: str
    node: str = ""
    attempts: int = 1
    failed: str = ""


def show(rows: Sequence[JobRow]) -> None:
    """Print the table to stderr, and the totals below; print nothing if there are no jobs.

    Of more than 50 jobs it shows those that failed, and the first and last five.
    Overrides of more than 120 characters lose their middle: ``.hydra/overrides.yaml`` has them whole.
    Nothing else is cut off: cells fold on a terminal, and elsewhere the table is as wide as it must be.
    """
    if not rows:
        return
    from rich.console import Console  # lazy: a run of one function shows no table

    width = None if sys.stderr.isatty() else _ENDLESS
    console = Console(stderr=True, width=width, highlight=False, markup=False, emoji=False)
    shown = [replace(row, overrides=_cut(row.overrides)) for row in _choose(rows)]
    _print_jobs(console, shown)
    console.print(_totals(rows))
    if len(shown) < len(rows):
        hidden = Counter(row.status for row in rows) - Counter(row.status for row in shown)
        console.print(f"{hidden.total()} jobs are not shown here: {_counts(hidden)}")


def brief(value: Any) -> str:
    """A return value on one short line: numbers to 4 significant digits, None as ``-``, the end cut off."""
    if value is None:
        return "-"
    text = " ".join(_Brief().repr(value).split())
    return text if len(text) <= _LONGEST_RESULT else text[: _LONGEST_RESULT - 1] + "…"


class _Brief(reprlib.Repr):
    """reprlib never walks all of a large value, and survives a ``__repr__`` that raises."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxlong = self.maxother = 10 * _LONGEST_RESULT
        self.maxdict = self.maxlist = self.maxtuple = _LONGEST_RESULT

    def repr_instance(self, x: Any, level: int) -> str:
        """Also numpy's numbers, which are registered as such."""
        if isinstance(x, numbers.Integral):
            return str(x)
        if isinstance(x, numbers.Real) and not isinstance(x, numbers.Rational):
            return f"{float(x):.4g}"
        return super().repr_instance(x, level)

    repr_float = repr_instance


def _choose(rows: Sequence[JobRow]) -> list[JobRow]:
    if len(rows) <= _MOST_ROWS:
        return list(rows)
    inner = [n for n, row in enumerate(rows) if row.status == "FAILED" and _ENDS <= n < len(rows) - _ENDS]
    first, last = range(_ENDS), range(len(rows) - _ENDS, len(rows))
    return [rows[n] for n in (*first, *inner[: _MOST_ROWS - 2 * _ENDS], *last)]


def _print_jobs(console: Console, rows: Sequence[JobRow]) -> None:
    table = _table(rows)
    if _width(console, table) <= console.width:
        _print(console, table)
        return
    below = os.path.commonpath([os.path.dirname(os.path.abspath(row.directory)) for row in rows])
    near = [replace(row, directory=os.path.relpath(row.directory, below)) for row in rows]
    bare = _table([replace(row, overrides="", directory="") for row in rows])
    if console.width - _width(console, bare) < _ROOM - len("overrides" + "directory"):
        for row in rows:
            console.print(_paragraph(row))
    else:
        _print(console, _table(near))
        console.print(f"directories are below {below}")


def _cut(text: str) -> str:
    """Both ends of a text that is too long: either may hold what differs between jobs."""
    if len(text) <= _LONGEST_OVERRIDES:
        return text
    end = (_LONGEST_OVERRIDES - 1) // 2
    return f"{text[: _LONGEST_OVERRIDES - 1 - end]}…{text[-end:]}"


def _print(console: Console, table: Table) -> None:
    """Without the spaces with which rich pads all lines to the same length."""
    from rich.segment import Segment, Segments

    for line in console.render_lines(table, pad=False):
        while line and not line[-1].text.strip(" "):
            line.pop()
        if line:
            line[-1] = Segment(line[-1].text.rstrip(" "), line[-1].style)
        console.print(Segments([*line, Segment.line()]), end="")


def _width(console: Console, table: Table) -> int:
    return console.measure(table, options=console.options.update(width=_ENDLESS)).maximum


def _table(rows: Sequence[JobRow]) -> Table:
    from rich.table import Table
    from rich.text import Text

    nodes = len({row.node for row in rows if row.node and row.status != "RESUMED"}) > 1
    attempts, failed = any(row.attempts > 1 for row in rows), any(row.failed for row in rows)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("job", justify="right", no_wrap=True)
    table.add_column("overrides", overflow="fold")
    table.add_column("status", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("up", justify="right", no_wrap=True)
    table.add_column("down", justify="right", no_wrap=True)
    if attempts:
        table.add_column("attempts", justify="right", no_wrap=True)
    if failed:
        table.add_column("in failed/", overflow="fold")
    if nodes:
        table.add_column("node", no_wrap=True)
    table.add_column("directory", overflow="fold")
    for row in rows:
        table.add_row(
            str(row.number),
            Text(row.overrides),  # as Text, since "deps=[data]" is no markup
            _status(row),
            f"{row.seconds:.1f}",
            Text(row.result),
            _moved(row.sent),
            _moved(row.received),
            *([str(row.attempts)] if attempts else []),
            *([Text(row.failed or "-")] if failed else []),
            *([Text(row.node)] if nodes else []),
            Text(row.directory),
        )
    return table


def _paragraph(row: JobRow) -> Text:
    """A job on a terminal that is too narrow for a table."""
    from rich.text import Text

    head = f", {row.seconds:.1f} s, {row.result}, {_moved(row.sent)} up, {_moved(row.received)} down"
    head += f", {row.attempts} attempts" if row.attempts > 1 else ""
    failed = f"in failed/: {row.failed}" if row.failed else ""
    lines = ("", *filter(None, (row.overrides, row.directory, failed, row.node)))
    return Text.assemble(f"{row.number} ", _status(row), head, "\n    ".join(lines), overflow="fold")


def _status(row: JobRow) -> Text:
    from rich.text import Text

    return Text(row.status, style=_STYLES.get(row.status, "yellow"))


def _moved(size: int) -> str:
    return human_size(size) if size else "-"


def _totals(rows: Sequence[JobRow]) -> str:
    jobs = "1 job" if len(rows) == 1 else f"{len(rows)} jobs"
    seconds = human_seconds(sum(row.seconds for row in rows))
    sent = human_size(sum(row.sent for row in rows))
    received = human_size(sum(row.received for row in rows))
    statuses = _counts(Counter(row.status for row in rows))
    return f"{jobs}: {statuses}; {seconds} of run time, {sent} up, {received} down"


def _counts(statuses: Counter[str]) -> str:
    return ", ".join(f"{number} {status}" for status, number in statuses.most_common())
