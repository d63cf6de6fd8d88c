"""The newest checkpoint of a job's attempts, as a store has it. What one is: job.checkpoints."""

from __future__ import annotations

import logging
from dataclasses import replace

from ..core.model import Job
from ..core.record_reader import load_checkpoint
from ..core.records import Checkpoint, checkpoint_area, checkpoint_key
from .store import Store

log = logging.getLogger(__name__)


def family(job: Job) -> str:
    """What the attempts at a job have in common: see `core.retries.Retries.job`."""
    return job.id.partition("-")[0]


def newest(job: Job, last: int, store: Store) -> Checkpoint | None:
    """That of attempt number ``last``, or of the latest before it that has one; None where there is none.

    Raises StoreError.
    """
    for attempt in range(last, 0, -1):
        incoming = store.get(checkpoint_key(family(job), attempt))
        if incoming is None:
            continue
        try:
            made = load_checkpoint(bytes(incoming.read()), attempt)
            area = checkpoint_area(family(job), attempt)
            return replace(made, contents=tuple((i, replace(each, area=area)) for i, each in made.contents))
        except ValueError as exc:
            log.warning("%s: the checkpoint of attempt %d cannot be read: %s", job.name, attempt, exc)
    return None
