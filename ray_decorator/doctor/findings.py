"""What a check has found, and how it is shown: plain text, with colours on a terminal."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Literal

from ..core.errors import without_passwords

Status = Literal["ok", "warning", "wrong"]

_COLOURS = {"ok": "green", "warning": "yellow", "wrong": "bold red"}
_INDENT = 9


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one check. ``facts`` are lines; ``cure`` is the command or setting that fixes it."""

    check: str
    status: Status = "ok"
    facts: tuple[str, ...] = field(default=())
    cure: str | None = None


def worst(*statuses: Status) -> Status:
    """The most severe status; ``ok`` where there is none."""
    return max(statuses, key=("ok", "warning", "wrong").index, default="ok")


def show(finding: Finding) -> None:
    """Print it to stdout at once: a line with the status, the facts indented below, the cure last."""
    lines = [line for fact in finding.facts for line in fact.splitlines()]
    cure = finding.cure.splitlines() if finding.cure else []
    if cure:
        cure = [f"fix: {cure[0]}", *cure[1:]]
    if sys.stdout.isatty():
        _show_coloured(finding, [without_passwords(line) for line in lines], cure)
        return
    print(f"{finding.status:<{_INDENT}}{finding.check}")
    for line in (*lines, *cure):
        print(f"{'':<{_INDENT}}  {without_passwords(line)}")
    sys.stdout.flush()


def _show_coloured(finding: Finding, facts: list[str], cure: list[str]) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    head = Text(f"{finding.status:<{_INDENT}}", style=_COLOURS[finding.status])
    console.print(head.append(finding.check, style="bold"))
    for line, style in (*((fact, "") for fact in facts), *((line, "cyan") for line in cure)):
        depth = len(line) - len(line.lstrip())
        text = Text(without_passwords(line.lstrip()), style=style, overflow="fold")
        console.print(Padding(text, (0, 0, 0, _INDENT + 2 + depth)))
