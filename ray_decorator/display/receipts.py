"""The table of ``ray-s3 jobs``: what finished jobs have left in the store."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..core.records.records import JobRecord
from ..core.units import human_size
from .table import brief

_ENDLESS = 100_000
_STYLES = {"COMPLETED": "green", "FAILED": "red"}


def show_receipts(records: Sequence[JobRecord]) -> None:
    """Print them to stdout, in this order."""
    width = None if sys.stdout.isatty() else _ENDLESS
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("when", "app", "overrides", "status", "value", "node"):
        table.add_column(name, overflow="fold", no_wrap=name in ("when", "status"))
    for name in ("seconds", "bytes"):
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        table.add_row(
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.ended)),
            _plain(record.app),
            _plain(" ".join(record.overrides)),
            Text(record.status, style=_STYLES[record.status]),
            _plain(_value(record)),
            _plain(record.node),
            f"{record.seconds:.1f}",
            human_size(_size(record)),
        )
    console.print(table)


def _value(record: JobRecord) -> str:
    if record.status == "FAILED":
        return record.error.partition(":")[0]
    return "not JSON" if record.value.why else brief(record.value.held())


def _size(record: JobRecord) -> int:
    """The bytes that the job has written, as far as they are known: not those of a directory that stayed at home."""
    left = [*record.outs, *([record.workspace] if record.workspace else [])]
    return sum(one.content.size for one in left if one.content is not None)


def _plain(text: str) -> Text:
    """Whoever can write to the store may have put there what moves a terminal's cursor."""
    return Text(
        "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    )
