"""A job's end: what it has written comes home, and its receipt becomes an outcome."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ...core.progress import Progress
from ...core.serialization import pickling
from ...core.values.contents import Content
from ...core.values.model import Call, Job, Outcome, Receipt
from ...store.pushing import REPLACED, first
from ...store.transfer import Snapshot
from ..data import homecoming
from ..data.failed_outs import bring_failed
from ..data.homecoming import bring_home

log = logging.getLogger(__name__)


class Store(homecoming.Store, Protocol):
    """What is asked of the driver's side of the store: see `staging.Staging`."""

    def checkpoint(self, job: Job) -> Mapping[int, Content]: ...

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
    _told_of_spoilt: list[str] = field(default_factory=list)

    def outcome(
        self, call: Call, sent: int, attempts: int, receipt: Receipt, error: BaseException | None
    ) -> Outcome:
        """The outcome of ``call``, once its outs are at home. ``error`` is the job's own, and first."""
        if receipt.healed:
            level = logging.INFO if self._told_of_spoilt else logging.WARNING
            self._told_of_spoilt.append(call.name)
            log.log(
                level, f"{call.name}: {REPLACED}", "the store", len(receipt.healed), first(receipt.healed)
            )
        received, error = bring_home(receipt, call.targets, self.store, self.progress, error)
        if error is not None:
            received += bring_failed(receipt, call, self.store, self.progress, error)
        for key in receipt.unwritten:
            log.warning("%s: output %r was not produced", call.name, key)
        value = None
        if error is None and receipt.value is not None:
            value = pickling.loads(receipt.value)
        node, seconds, failed = receipt.node, receipt.seconds, receipt.failed
        told = receipt.told if error is None or receipt.failure is not None else None
        return Outcome(
            call.name, value, error, seconds, sent, received, node, attempts, told=told, failed=failed
        )

    def last_checkpoint(self, job: Job) -> Receipt:
        """For a job whose node has nothing of it any more. Raises StoreError."""
        outs = self.store.checkpoint(job)
        keys = ", ".join(job.outs[index].key for index in outs)
        notes = (f"Nothing else is left of it: {keys} came home as in its newest checkpoint",) if outs else ()
        return Receipt(outs=outs, notes=notes)

    def logs(self, call: Call, receipt: Receipt) -> None:
        """Bring home what comes of an attempt that another one replaces."""
        _, error = bring_home(receipt, call.targets, self.store, self.progress, None)
        for problem in (*receipt.notes, *([error] if error is not None else [])):
            log.warning("%s: %s", call.name, problem)
