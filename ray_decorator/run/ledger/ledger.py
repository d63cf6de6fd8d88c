"""The driver's side of the ledger: which job is which, found out beside all else that a run begins with."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import InputError, RayS3Error
from ...core.options.settings import Settings
from ...core.records.job_ids import Surroundings, job_id
from ...core.values.contents import Content
from ...core.values.model import Call
from ...core.values.work import Entry
from ..data.staging import Staging
from .differences import differences
from .run_records import RunWriter, new_run_id
from .surroundings import surroundings

log = logging.getLogger(__name__)

_HOLDS = 2.0  # seconds; code that changes between two batches makes other jobs of the later ones


@dataclass(frozen=True, slots=True)
class Shared:
    """What the jobs of a run share: code and packages, once they are known, and the run's record."""

    around: Future[Surroundings]
    writer: RunWriter | None


class Ledger:
    """The ledger of a session. Its verbs are called from one thread at a time."""

    def __init__(self, settings: Settings, staging: Staging) -> None:
        self._settings, self._staging = settings, staging
        self._around: Future[Surroundings] | None = None
        self._looked = 0.0
        self._run = ""
        self._writer: RunWriter | None = None
        self._said = False

    def look(self, calls: Sequence[Call], left_out: Collection[Path], *, first: bool) -> None:
        """Begin to find out what the calls' ids are made of, in a thread. ``first``: a run begins."""
        work = next((call.work for call in calls if call.work is not None), None)
        if work is None:
            return
        if first or not self._run:
            self._run = new_run_id()
            self._writer = RunWriter(self._run, self._staging.open)
        if self._around is None or (first and time.monotonic() - self._looked > _HOLDS):
            around: Future[Surroundings] = Future()
            self._around, self._looked = around, time.monotonic()
            folders = tuple(left_out)
            threading.Thread(
                target=lambda: _fulfil(around, self._settings, self._staging, folders, work.configs),
                name="ray-s3-surroundings",
                daemon=True,
            ).start()

    def differences(self, calls: Sequence[Call]) -> str:
        """What is not as it was in the last run of the calls' app, in words. Raises StoreError."""
        work = next((call.work for call in calls if call.work is not None), None)
        if work is None or self._around is None or self._around.exception() is not None:
            return ""
        return differences(self._staging.open(), work.app, self._around.result(), self._run)

    @property
    def shared(self) -> Shared | None:
        """What the jobs that start now share."""
        return None if self._around is None else Shared(self._around, self._writer)

    def entry(
        self, call: Call, contents: Mapping[str, Content], shared: Shared | None = None
    ) -> Entry | None:
        """What the call's job is called; None where that cannot be said. Waits for what `look` has begun.

        ``shared``: as it was when the job started. With it, this may be called from any thread.

        Raises InputError there where jobs with receipts are asked for.

        ``contents`` are those of its deps by real path.
        """
        shared = shared or self.shared
        if call.work is None or shared is None or (known := self._known(call, shared.around)) is None:
            return None
        written = {out.real: out.key for out in call.outs}
        both = {
            written[dep.real]: one.digest
            for dep in call.deps
            if dep.real in written and (one := contents.get(dep.real))
        }
        deps = {dep.key: None if dep.real in written else contents.get(dep.real) for dep in call.deps}
        if any(deps[dep.key] is None for dep in call.deps if dep.real not in written):
            return None
        found = job_id(call.work, known, deps, [out.key for out in call.outs])
        if found is None:
            self._unknown(f"{call.name}: no file that travels as code holds its task ({call.work.name})")
            return None
        if shared.writer is not None:
            shared.writer.add(call.work, known, found)
        return Entry(found, self._run, call.work.app, call.work.overrides, both)

    def unnamed(self, call: Call) -> Entry | None:
        """As `entry`, for a call whose receipt the driver writes later: the id is ""."""
        return None if call.work is None else Entry("", self._run, call.work.app, call.work.overrides)

    def end(self) -> None:
        """The run is over."""
        if self._writer is not None:
            self._writer.end()
            self._writer = None
            self._run = ""

    def _known(self, call: Call, around: Future[Surroundings]) -> Surroundings | None:
        if (error := around.exception()) is not None:
            if not self._said:
                self._said = True
                log.info("jobs leave no receipts, so that a later `resume` would run them again: %s", error)
            self._unknown(f"{call.name}: {error}")
            return None
        return around.result()

    def _unknown(self, why: str) -> None:
        """Without an id, a job leaves no receipt, and none is found."""
        if self._settings.resume:
            raise InputError(f"resume: jobs cannot be told from others, so none has a receipt. {why}")
        log.debug("no receipt. %s", why)


def _fulfil(
    around: Future[Surroundings],
    settings: Settings,
    staging: Staging,
    left_out: Collection[Path],
    configs: Sequence[str],
) -> None:
    try:
        around.set_result(surroundings(settings, staging, left_out, configs))
    except BaseException as exc:
        around.set_exception(
            exc if isinstance(exc, RayS3Error) else RayS3Error(f"{type(exc).__name__}: {exc}")
        )
