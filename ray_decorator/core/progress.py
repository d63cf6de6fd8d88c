"""How far the work is: what every side counts, and who shows nothing of it.

`display.progress` has those that show it: on a terminal, and as log lines.
"""

from __future__ import annotations

from typing import Literal, Protocol

Phase = Literal["hashing", "uploading", "running", "downloading"]


class Progress(Protocol):
    """Counts what each phase still has to do, and has done. All verbs may be called from any thread."""

    def expect(self, phase: Phase, items: int, size: int = 0) -> None:
        """So many more items (files or jobs), of so many bytes in all, are to be done."""

    def advance(self, phase: Phase, items: int, size: int = 0) -> None:
        """So many items, or bytes of one under way (``items=0``), are done."""


class NoProgress:
    """Shows nothing: for workers, tests and calls made inside other programs."""

    def expect(self, phase: Phase, items: int, size: int = 0) -> None:
        return None

    def advance(self, phase: Phase, items: int, size: int = 0) -> None:
        return None
