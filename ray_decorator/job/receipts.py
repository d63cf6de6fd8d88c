"""A job that has finished leaves a receipt in the store: how it ended, and where what it wrote is.

It comes last: the store holds whatever it names.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from ..content.looking.fingerprint import fingerprint
from ..core.errors import RayS3Error
from ..core.machine.this_machine import is_same_path
from ..core.records.records import MOST_TEXT, JobRecord, Left, dump, job_key, without_nul
from ..core.values.model import Failure, Job, Receipt
from ..core.values.returned import Told, Value
from .side import Side

log = logging.getLogger(__name__)

_CANCELLED = "builtins.KeyboardInterrupt"


def told(value: Value, failure: Failure | None) -> Told | None:
    """How the task ended; None where it was cancelled, which is no end."""
    if failure is None:
        return Told("COMPLETED", value)
    if _CANCELLED in failure.kinds:
        return None
    return Told(
        "FAILED",
        Value(),
        without_nul(failure.summary)[:MOST_TEXT],
        without_nul(failure.traceback)[-MOST_TEXT:],
    )


@contextlib.contextmanager
def interrupts_noted() -> Iterator[Callable[[], bool]]:
    """Whether the job was cancelled meanwhile, whatever its task made of the KeyboardInterrupt."""
    before, seen = signal.getsignal(signal.SIGINT), threading.Event()
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield seen.is_set
        return

    def note(number: int, frame: FrameType | None) -> Any:
        seen.set()
        return before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield seen.is_set
    finally:
        if signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, before)


def leave(job: Job, receipt: Receipt, node: str, side: Side) -> None:
    """Write the receipt of a job that has an entry with an id; a line says where it cannot be."""
    if job.entry is None or not job.entry.id or receipt.told is None:
        return
    record = _record(job, receipt, receipt.told, node)
    try:
        if (data := dump(record)) is None:
            log.warning("%s leaves no receipt, which would be too large: it runs again on resume", job.name)
        else:
            side.store.put(job_key(record.id), data)
    except RayS3Error as exc:
        log.warning("%s leaves no receipt, so it runs again on resume: %s", job.name, exc)


def _record(job: Job, receipt: Receipt, ended: Told, node: str) -> JobRecord:
    assert job.entry is not None
    left = {index: Left(job.outs[index].key, content) for index, content in receipt.outs.items()}
    workspace = _workspace(job, left.pop(len(job.outs) - 1, None)) if job.has_workspace else None
    return JobRecord(
        id=job.entry.id,
        run=job.entry.run,
        app=job.entry.app,
        overrides=job.entry.overrides,
        status=ended.status,
        value=ended.value,
        error=ended.error,
        traceback=ended.traceback,
        outs=tuple(left.values()),
        workspace=workspace,
        before=job.entry.before,
        ended=time.time(),
        seconds=receipt.seconds,
        sent=receipt.sent,
        received=receipt.received,
        node=node,
    )


def _workspace(job: Job, left: Left | None) -> Left | None:
    """A directory of home's that the job has worked in has gone nowhere: it says where it is."""
    out = job.outs[-1]
    if left is not None or out.in_place is None or not is_same_path(out.in_place):
        return left
    return Left(out.key, None, out.in_place.path, fingerprint(out.in_place.path))
