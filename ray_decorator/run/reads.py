"""Jobs that read deps where they lie: what changes meanwhile is told, and who writes their receipts hears of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future

from ..core.values.model import Outcome, PathSlot
from .data.changed_deps import ChangedDeps
from .engine.flights import Staged
from .ledger.beside import Beside


class Reads:
    """The jobs of a session that run. Safe to use from several threads."""

    def __init__(self, beside: Beside) -> None:
        self._beside, self._changed = beside, ChangedDeps()
        self._reads: dict[Future[Outcome], tuple[str, list[PathSlot]]] = {}
        self._lock = threading.Lock()

    def start(self, staged: Staged, submit: Callable[[Staged], Future[Outcome]]) -> Future[Outcome]:
        """Submit a job; what it reads in place is looked at before and after it."""
        call, job = staged.call, staged.job
        pairs = zip(call.deps, job.deps, strict=True)
        read = [slot for slot, dep in pairs if dep.content is None and dep.inside is None]
        if not read:
            return self._submit(staged, submit, {})
        seals = self._changed.begin(job.id, call.name, read, call.targets)
        try:
            outcome = self._submit(staged, submit, seals)
        except BaseException:
            self._changed.end(job.id, read)
            raise
        self._reads[outcome] = (job.id, read)
        outcome.add_done_callback(lambda done: self.finished([done]))
        return outcome

    def finished(self, outcomes: Iterable[Future[Outcome]]) -> None:
        """See whether what these jobs read has changed meanwhile."""
        for outcome in outcomes:
            with self._lock:  # who comes second finds it done, not under way
                if (read := self._reads.pop(outcome, None)) is not None:
                    self._changed.end(*read)

    def _submit(
        self, staged: Staged, submit: Callable[[Staged], Future[Outcome]], seals: Mapping[str, str]
    ) -> Future[Outcome]:
        if staged.job.entry is None or staged.job.entry.id:
            return submit(staged)
        has_ended = self._beside.begin(staged.call, staged.job, seals)
        outcome = submit(staged)
        outcome.add_done_callback(has_ended)
        return outcome
