"""Outs come home from the store; one that cannot come is named with its key, its path, the reason, and the command
that brings it later.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ...core.errors import CorruptObjectError, HomeError, InputError, MissingObjectError, StoreError
from ...core.progress import Progress
from ...core.serialization.failures import add_note
from ...core.values.contents import Content
from ...core.values.model import PathSlot, Receipt
from ...store.transfer import Pulled

log = logging.getLogger(__name__)


class Store(Protocol):
    """What is asked of the driver's side of the store: see `staging.Staging`."""

    def pull_all(self, wanted: list[tuple[Content, Path]], progress: Progress) -> list[Pulled]: ...

    def pull_aside(self, content: Content, destination: Path, progress: Progress) -> Path: ...

    def fetch_command(self, content: Content, destination: Path) -> str: ...


def bring_home(
    receipt: Receipt,
    targets: Sequence[PathSlot],
    store: Store,
    progress: Progress,
    error: BaseException | None,
) -> tuple[int, BaseException | None]:
    """Bring all outs home, side by side: the bytes received, and the job's error.

    One that cannot come keeps none of the others. ``error`` is what the job itself met: it goes first, and what
    did not come home is told in its notes.
    """
    if not receipt.outs:
        return 0, error
    wanted = [(content, targets[index].value) for index, content in receipt.outs.items()]
    pulled = store.pull_all(wanted, progress)
    problems = [
        _problem(targets[index], content, one, one.error, store, progress)
        for (index, content), one in zip(receipt.outs.items(), pulled, strict=True)
        if one.error is not None
    ]
    if error is not None:
        for problem in problems:
            log.warning("%s", problem)
            add_note(error, f"What it had written could not be brought home: {problem}")
    elif (error := HomeError.of(problems)) is not None and len(problems) > 1:
        error.__cause__ = problems[0]
    return sum(one.received for one in pulled), error


def _problem(
    target: PathSlot, content: Content, pulled: Pulled, error: Exception, store: Store, progress: Progress
) -> Exception:
    of = f"outs key {target.key!r}"
    later = f"It is in the store; bring it later with: {store.fetch_command(content, target.value)}"
    if isinstance(error, InputError):
        try:
            aside = store.pull_aside(content, target.value, progress)
            return InputError(f"{of}: {error}. What the job wrote is at {aside}")
        except (OSError, InputError) as exc:
            made: Exception = HomeError(f"{of}: {error}; nor beside it: {exc}. {later}")
    elif isinstance(error, MissingObjectError):
        names = tuple(f"{of}, {name}" for name in error.names or error.digests)
        made = MissingObjectError(error.digests, error.store_url, names, error.advice)
    elif isinstance(error, CorruptObjectError):
        made = CorruptObjectError(f"{of}, {error}", error.digests)
    elif isinstance(error, StoreError):
        made = HomeError(f"{of}: {target.value} did not come home: {error}. {later}")
    elif isinstance(error, OSError):
        half = ""
        if content.is_tree and pulled.came:
            half = f"; it is incomplete, with {pulled.came} of its {content.files} files"
        reason = error.strerror or str(error)
        made = HomeError(f"{of}: {target.value} cannot be written ({reason}){half}. {later}")
    else:
        return error
    made.__cause__ = error
    return made
