"""What a job has left on this machine, and no store has: taken from where it is, while it is what it was."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from ...content.hashes.hash_cache import HashCache
from ...content.looking.fingerprint import fingerprint
from ...content.looking.snapshot import snapshot
from ...content.placing import move
from ...content.temporary import beside, remove
from ...core.errors import InputError
from ...core.progress import NoProgress
from ...core.records.records import Left


class Removal(NamedTuple):
    """Something that was left at a place, and belongs to a destination."""

    left: Left
    destination: Path

    @property
    def is_there(self) -> bool:
        """Whether the place is the destination."""
        return os.path.realpath(self.left.place) == os.path.realpath(self.destination)


def is_as_it_was(left: Left, earlier: Collection[str], hashes: HashCache) -> bool:
    """Whether what was left at its place is there, unchanged.

    ``earlier`` are the real paths where jobs of this machine have written: a receipt, which anybody may have made up,
    leads nowhere else.
    """
    real = os.path.realpath(left.place)
    if real not in earlier or not os.path.exists(real):
        return False
    if left.seal and fingerprint(real) == left.seal:
        return True
    if left.content is None:
        return False
    try:
        now = snapshot(Path(real), hashes, NoProgress(), lenient=True)
    except InputError:
        return False
    return now.content == left.content


def bring_all(removals: Sequence[Removal]) -> list[Exception | None]:
    """Copy each to its destination, merged into what is there; what went wrong with each.

    All are copied before the first one is put in place, which may be where another one was left.
    """
    copied = [None if removal.is_there else _copied(removal) for removal in removals]
    moves = [
        (copy, removal.destination)
        for copy, removal in zip(copied, removals, strict=True)
        if isinstance(copy, Path)
    ]
    try:
        moved = iter(move.move_all(moves))
        return [next(moved) if isinstance(copy, Path) else copy for copy in copied]
    finally:
        for copy, _ in moves:
            _drop(copy)


def _copied(removal: Removal) -> Path | Exception:
    """A copy beside the destination."""
    destination = os.path.realpath(removal.destination)
    copy = Path(beside(destination))
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        move.copy(Path(removal.left.place), copy)
    except (OSError, InputError) as exc:
        _drop(copy)
        return exc
    return copy


def _drop(copy: Path) -> None:
    with contextlib.suppress(OSError):  # the next one that works there clears it
        remove(str(copy))
