"""Which calls of a batch earlier runs have done, and what the jobs of the others are called in the ledger."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..core.errors import InputError
from ..core.options.settings import Settings
from ..core.progress import Progress
from ..core.values.contents import Content
from ..core.values.model import Call
from ..core.values.work import Entry
from .data.staging import Staging
from .engine.flights import Resumed
from .ledger.ledger import Ledger
from .ledger.resuming import Resuming

log = logging.getLogger(__name__)


class KnownJobs:
    """Asks the ledger of a session."""

    def __init__(self, settings: Settings, staging: Staging, ledger: Ledger, progress: Progress) -> None:
        self._settings, self._staging, self._ledger = settings, staging, ledger
        self._progress = progress

    def part(
        self, calls: Sequence[Call], contents: Mapping[str, Content]
    ) -> tuple[dict[int, Resumed], list[Entry | None]]:
        """The calls, by index, that are done, with their outs at home; and the entries of all.

        ``contents`` are those of the deps that travel, by real path. Hashes the others where receipts are asked for.
        Raises InputError where jobs cannot be told apart then, and StoreError.
        """
        if not self._settings.resume:
            return {}, self._entries(calls, contents)
        entries = [self._ledger.entry(call, self._all(calls, contents)) for call in calls]
        outcomes = Resuming(self._staging, self._progress, self._settings.resume).take(calls, entries)
        if len(outcomes) < len(calls) and (others := self._ledger.differences(calls)):
            log.info("resume: %s", others)
        done = {index: Resumed(calls[index], outcome) for index, outcome in outcomes.items()}
        if self._settings.store_is_default:
            return done, [_unnamed(one) for one in entries]
        return done, entries

    def _entries(self, calls: Sequence[Call], contents: Mapping[str, Content]) -> list[Entry | None]:
        if self._settings.store_is_default:  # the driver writes what they leave
            return [self._ledger.unnamed(call) for call in calls]
        return [self._ledger.entry(call, contents) for call in calls]

    def _all(self, calls: Sequence[Call], contents: Mapping[str, Content]) -> dict[str, Content]:
        """With those of the deps that jobs read where they lie."""
        known = dict(contents)
        absent = {dep.real for call in calls for dep in call.deps} - known.keys()
        if absent:
            with self._progress.doing("hashing deps, to see what earlier runs have done"):
                for real in absent:
                    with contextlib.suppress(InputError):  # of which nothing can be said: its jobs run
                        known[real] = self._staging.held(Path(real))
        return known


def _unnamed(entry: Entry | None) -> Entry | None:
    """For a job whose receipt the driver writes, and whose id is known already."""
    return None if entry is None else replace(entry, id="", known=entry.id)
