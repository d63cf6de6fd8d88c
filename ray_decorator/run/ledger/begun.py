"""Notes of jobs of this machine that run: under which id a later run finds their checkpoints, if they make any.

A job whose id is known when it starts leaves such a note itself, with its first checkpoint. For others the driver
does, as soon as it has hashed what they read; it removes the note when the job is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...core.records.records import Begun, begun_key, dump
from ...core.values.contents import Content
from ...core.values.model import Call, Job
from ...store.last_checkpoint import family
from ..data.staging import Staging
from .ledger import Ledger, Shared


class BegunJobs:
    """The notes of a session. ``attempts``: as many as a job may have. Its verbs are called from one thread."""

    def __init__(self, ledger: Ledger, staging: Staging, attempts: int) -> None:
        self._ledger, self._staging, self._attempts = ledger, staging, attempts
        self._noted: set[str] = set()

    def note(self, call: Call, job: Job, contents: Mapping[str, Content], shared: Shared | None) -> None:
        """Note the job. ``contents`` are those of what it only reads, by real path. Raises InputError, StoreError."""
        before = {real: self._staging.held(Path(real)) for real in _read_and_written(call)}
        entry = self._ledger.entry(call, {**contents, **before}, shared)
        if entry is not None:
            begun = dump(Begun(family(job), self._attempts, entry.before))
            self._staging.open().put(begun_key(entry.id), begun or b"")
            self._noted.add(entry.id)

    def forget(self, job_id: str) -> None:
        """The job of this id in the ledger is done. Raises StoreError."""
        if job_id in self._noted:
            self._noted.discard(job_id)
            self._staging.open().delete(begun_key(job_id))


def needs_note(call: Call, job: Job) -> bool:
    """Whether the job may make checkpoints, and leaves no note itself."""
    return job.entry is not None and not job.entry.known and bool(_read_and_written(call))


def _read_and_written(call: Call) -> list[str]:
    """The real paths that are both a dep and an out: these are what a checkpoint holds."""
    written = {out.real for out in call.outs}
    return [dep.real for dep in call.deps if dep.real in written]
