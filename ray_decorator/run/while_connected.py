"""Nothing is prepared any more for a cluster that has been lost."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future

from ..core.errors import ClusterError
from ..core.progress import Phase, Progress


class WhileConnected:
    """Counts as ``progress`` does, and raises the error that is the result of ``lost``, once it is there.

    Hashing and uploads end with that: they count each piece, in each of their threads.
    """

    def __init__(self, progress: Progress, lost: Future[ClusterError]) -> None:
        self._progress, self._lost = progress, lost

    def expect(self, phase: Phase, items: int, size: int = 0) -> None:
        self._check()
        self._progress.expect(phase, items, size)

    def advance(self, phase: Phase, items: int, size: int = 0) -> None:
        self._check()
        self._progress.advance(phase, items, size)

    def doing(self, what: str) -> contextlib.AbstractContextManager[None]:
        return self._progress.doing(what)

    def _check(self) -> None:
        if self._lost.done():
            raise self._lost.result()
