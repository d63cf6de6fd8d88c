"""Which entries of a directory count as its content: decided by whoever takes a snapshot, asked while it is taken."""

from __future__ import annotations

from typing import Protocol


class Selection(Protocol):
    """What counts in one folder."""

    def leaves_out(self, name: str, is_folder: bool) -> bool:
        """Whether the entry does not count; of a folder, nothing that is in it does then."""

    def within(self, name: str) -> Selection:
        """What counts in the folder of this name."""
