"""Deps that jobs read where they lie: whoever changes one meanwhile is told which jobs may have seen both states.

A dep is looked at when the first job that reads it starts, at most every two seconds as jobs end, and when the last
one has ended. A look reads names, sizes and times, and no file.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from ...content.looking.fingerprint import fingerprint
from ...core.values.model import PathSlot

log = logging.getLogger(__name__)

_PAUSE = 2.0  # seconds
_SHOWN = 3


@dataclass(slots=True)
class _Read:
    """A dep that is being read in place, by jobs with these ids and names; ``ended`` have since the last look."""

    dep: PathSlot
    seen: str
    looked: float
    without: set[str]
    running: dict[str, str] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)


class ChangedDeps:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._reads: dict[str, _Read] = {}
        self._lock = threading.Lock()

    def begin(
        self, job: str, name: str, deps: Collection[PathSlot], written: Collection[PathSlot] = ()
    ) -> dict[str, str]:
        """The job with this id is about to read the deps; ``name`` is what the user sees of it.

        What it is to write, ``written``, may change inside of them. Returns the fingerprints of the deps, by real
        path: "" for one in which jobs write.
        """
        seals: dict[str, str] = {}
        with self._lock:
            for dep in deps:
                read = self._reads.get(dep.real)
                own = {out.real for out in written if out.real.startswith(f"{dep.real}/")}
                if read is None or not own <= read.without:
                    running = read.running if read is not None else {}
                    own |= read.without if read is not None else set()
                    read = _Read(dep, fingerprint(dep.real, own), time.monotonic(), own, running)
                    self._reads[dep.real] = read
                read.running[job] = name
                seals[dep.real] = "" if read.without else read.seen
        return seals

    def end(self, job: str, deps: Collection[PathSlot]) -> None:
        """The job has ended. May be called again for the same job."""
        with self._lock:
            for dep in deps:
                read = self._reads.get(dep.real)
                if read is None or job not in read.running:
                    continue
                read.ended.append(read.running.pop(job))
                if not read.running or time.monotonic() - read.looked > _PAUSE:
                    self._look(read)

    def _look(self, read: _Read) -> None:
        now = fingerprint(read.dep.real, read.without)
        if now != read.seen:
            names = sorted({*read.ended, *read.running.values()})
            shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
            log.warning(
                "%s (deps key %r) was changed while %s ran, which read it where it lies: what it saw is not certain",
                read.dep.value,
                read.dep.key,
                shown,
            )
        read.seen, read.looked = now, time.monotonic()
        read.ended.clear()
        if not read.running:
            del self._reads[read.dep.real]
