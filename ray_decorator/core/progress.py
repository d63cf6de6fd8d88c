"""How far the work is: the protocol that every side counts with, and the implementation that shows nothing.

The implementations that show it, on a terminal and as log lines, are in `display`.
"""

from __future__ import annotations

import contextlib
from typing import Literal, Protocol

Phase = Literal["hashing", "uploading", "running", "downloading"]


class Progress(Protocol):
    """Counts what each phase still has to do, and has done. Its methods may be called from any thread."""

    def expect(self, phase: Phase, items: int, size: int = 0) -> None:
        """Add items (files or jobs), of ``size`` bytes together, to what is to be done."""

    def advance(self, phase: Phase, items: int, size: int = 0) -> None:
        """Count items as done, or ``size`` bytes of an item that is not finished yet (``items=0``)."""

    def doing(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Say what happens, for as long as the block lasts, where there is nothing to count."""


class NoProgress:
    """Shows nothing: for workers, tests and calls made inside other programs."""

    def expect(self, phase: Phase, items: int, size: int = 0) -> None:
        return None

    def advance(self, phase: Phase, items: int, size: int = 0) -> None:
        return None

    def doing(self, what: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()
