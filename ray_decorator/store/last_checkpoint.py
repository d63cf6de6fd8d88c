"""The newest checkpoint of a job's attempts, as a store has it. What one is: job.checkpoints."""

from __future__ import annotations

import logging
from dataclasses import replace

from ..core.options.retries import MOST_ATTEMPTS
from ..core.records.reader import load_begun, load_checkpoint
from ..core.records.records import MOST_BYTES, Checkpoint, begun_key, checkpoint_area, checkpoint_key
from ..core.values.model import Job
from .store import Store

log = logging.getLogger(__name__)


def family(job: Job) -> str:
    """What the attempts at a job have in common: see `core.options.retries.Retries.job`."""
    return job.id.partition("-")[0]


def newest(job: Job, last: int, store: Store) -> Checkpoint | None:
    """That of attempt number ``last``, or of the latest before it that has one; None where there is none.

    Raises StoreError.
    """
    return next((made for at in range(last, 0, -1) if (made := _read(job, family(job), at, store))), None)


def of_an_earlier_run(job: Job, store: Store) -> Checkpoint | None:
    """That of the same job, as the ledger has it, where it began with the same data. Raises StoreError."""
    name = "" if job.entry is None else job.entry.begins_as
    if job.entry is None or not name or (incoming := store.get(begun_key(name))) is None:
        return None
    try:
        begun = load_begun(incoming.read_at_most(MOST_BYTES))
    except ValueError as exc:
        log.warning("%s: what an earlier run has begun cannot be read: %s", job.name, exc)
        return None
    if begun.before != job.entry.before:
        return None
    attempts = range(begun.attempt, max(0, begun.attempt - MOST_ATTEMPTS), -1)
    return next((made for at in attempts if (made := _read(job, begun.job, at, store)) is not None), None)


def _read(job: Job, name: str, attempt: int, store: Store) -> Checkpoint | None:
    incoming = store.get(checkpoint_key(name, attempt))
    if incoming is None:
        return None
    try:
        made = load_checkpoint(incoming.read_at_most(MOST_BYTES), attempt)
    except ValueError as exc:
        log.warning("%s: the checkpoint of attempt %d cannot be read: %s", job.name, attempt, exc)
        return None
    area = checkpoint_area(name, attempt)
    return replace(made, contents=tuple((i, replace(each, area=area)) for i, each in made.contents))
