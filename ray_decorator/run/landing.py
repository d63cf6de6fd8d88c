"""A job's end: what it has written comes home, and its receipt becomes an outcome."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..core import pickling
from ..core.errors import InputError
from ..core.model import Call, Content, Outcome, Receipt
from ..core.progress import Progress
from ..store.transfer import Pulled, Snapshot

log = logging.getLogger(__name__)


class Store(Protocol):
    """What is asked of the driver's side of the store: see `staging.Staging`."""

    def pull_all(self, wanted: list[tuple[Content, Path]], progress: Progress) -> list[Pulled]: ...

    def pull_aside(self, content: Content, destination: Path, progress: Progress) -> Path: ...

    def reuploads(self, snapshots: Collection[Snapshot]) -> Mapping[str, int]: ...

    def reupload(
        self,
        snapshots: Collection[Snapshot],
        since: Mapping[str, int],
        missing: tuple[str, ...],
        progress: Progress,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Landing:
    """Brings home from ``store`` what jobs have written."""

    store: Store
    progress: Progress

    def outcome(
        self, call: Call, sent: int, attempts: int, receipt: Receipt, error: BaseException | None
    ) -> Outcome:
        """The outcome of ``call``, once its outs are at home. ``error`` is the job's own, and first."""
        received, error = self._bring_home(call, receipt, error)
        for key in receipt.unwritten:
            log.warning("%s: output %r was not produced", call.name, key)
        value = None
        if error is None and receipt.value is not None:
            value = pickling.loads(receipt.value)
        return Outcome(call.name, value, error, receipt.seconds, sent, received, receipt.node, attempts)

    def _bring_home(
        self, call: Call, receipt: Receipt, error: BaseException | None
    ) -> tuple[int, BaseException | None]:
        """All outs side by side; one that cannot come keeps none of the others."""
        if not receipt.outs:
            return 0, error
        targets = call.targets
        wanted = [(content, targets[index].value) for index, content in receipt.outs.items()]
        pulled = self.store.pull_all(wanted, self.progress)
        for index, one in zip(receipt.outs, pulled, strict=True):
            if one.error is None:
                continue
            problem = one.error
            if isinstance(problem, InputError):
                aside = self.store.pull_aside(receipt.outs[index], targets[index].value, self.progress)
                problem = InputError(
                    f"outs key {targets[index].key!r}: {problem}. What the job wrote is at {aside}"
                )
            if error is None:
                error = problem
            else:
                error.add_note(f"What it had written could not be brought home: {problem}")
        return sum(one.received for one in pulled), error
