"""What deps that jobs read where they lie hold: hashed while the jobs run, and certain to be what these have read.

A dep is certain if its fingerprint and its content are the same when it was hashed, when a job started, and now.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...content.looking.fingerprint import fingerprint
from ...core.errors import InputError
from ...core.values.contents import Content
from ...core.values.model import Call, Job
from ..data.staging import Staging

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Hashed:
    seal: str
    content: Content


class CertainDeps:
    """The deps of a session's jobs. Its verbs are called from one thread."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._hashed: dict[str, _Hashed] = {}

    def is_known(self, real: str, seal: str) -> bool:
        """Whether there is nothing to hash: it was, with this fingerprint, or has none."""
        known = self._hashed.get(real)
        return not seal or (known is not None and known.seal == seal)

    def hash(self, real: str, seal: str) -> None:
        """Hash a dep, if its fingerprint still is ``seal``."""
        try:
            if fingerprint(real) == seal:
                self._hashed[real] = _Hashed(seal, self._staging.held(Path(real)))
        except InputError as exc:
            log.debug("jobs that read %s leave no receipts: %s", real, exc)

    def contents(
        self, call: Call, job: Job, seals: Mapping[str, str], now: dict[str, bool]
    ) -> dict[str, Content] | None:
        """What the job's deps held while it ran, by real path; None where that is not certain.

        ``seals`` are their fingerprints when it started. ``now`` keeps what was looked at, for all jobs of one look.
        """
        contents: dict[str, Content] = {}
        for slot, dep in zip(call.deps, job.deps, strict=True):
            if dep.content is not None:
                contents[slot.real] = dep.content
            elif dep.inside is None:
                hashed, seal = self._hashed.get(slot.real), seals.get(slot.real)
                if hashed is None or not seal or hashed.seal != seal:
                    return None
                if not self._is_same(slot.real, hashed, now):
                    return None
                contents[slot.real] = hashed.content
        return contents

    def _is_same(self, real: str, hashed: _Hashed, now: dict[str, bool]) -> bool:
        """Whether the dep still is what was hashed, now that jobs have ended; files behind its links, too."""
        if real not in now:
            now[real] = fingerprint(real) == hashed.seal and self._held(real) == hashed.content
        return now[real]

    def _held(self, real: str) -> Content | None:
        with contextlib.suppress(InputError):
            return self._staging.held(Path(real))
        return None
