"""How many bytes of uploads may be under way at once, and what tells a slow line from a store that never answers.

A request is silent until its answer comes, however well its bytes go out. So what is under way has to be little
enough for a slow line to bring within one request's time-out, which is half of the patience (90 s by default):

    at first                   16 MiB   1.5 Mbit/s are enough
    once the rate is known     what goes out in a quarter of a time-out, at least 16 MiB, at most 128 MiB
    after no answer in time     5 MiB   0.5 Mbit/s are enough (S3 takes no smaller parts)

What is not answered then either is an error, once the patience is over.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from ...core.errors import StoreUnreachableError
from .patience import request_timeout

_MIB = 1024 * 1024
LEAST = 5 * _MIB  # of a part on S3, except for the last one
FIRST, _MOST = 16 * _MIB, 128 * _MIB
SMALL = 128 * 1024  # bytes; need not wait for others, and tell nothing of the rate
_TELLING = _MIB  # an upload of fewer bytes says more of the way there and back than of the rate


class Uplink:
    """Shared by all threads that use one store, the one at ``place``. ``patience`` is in seconds."""

    def __init__(self, place: str, patience: float, most: int = FIRST) -> None:
        self._place = place
        self.timeout = request_timeout(patience)
        """For how many seconds an upload may go without an answer."""
        self._patience = max(patience, self.timeout)
        self._under_way = 0
        self._changed = threading.Condition()
        self.progress = time.monotonic()
        """When the store last took something, by time.monotonic."""
        self.most = most
        """Bytes that may be under way at once."""

    @property
    def slow(self) -> bool:
        """Whether a request was not answered in time, and none since has shown a fast line."""
        return self.most < FIRST

    @contextlib.contextmanager
    def hold(self, size: int) -> Iterator[int]:
        """Wait until ``size`` bytes may be sent, or as many as the line bears at all; yields how many these are.

        The smallest need not wait. Raises StoreUnreachableError where all others' uploads stand still for longer than
        the patience.
        """
        if size <= SMALL:
            yield size
            return
        with self._changed:
            since = time.monotonic()
            while self._under_way and self._under_way + min(size, self.most) > self.most:
                silent = time.monotonic() - max(since, self.progress)
                if silent > self._patience:
                    raise StoreUnreachableError(
                        f"nobody answers for {self._place} (no upload went on for {silent:.0f} s): check that the "
                        "server runs, and that nothing on the way there holds back large uploads"
                    )
                self._changed.wait(self._patience - silent + 0.1)
            granted = min(size, self.most)
            self._under_way += granted
        try:
            yield granted
        finally:
            with self._changed:
                self._under_way -= granted
                self._changed.notify_all()

    def took(self, size: int, seconds: float) -> None:
        """``size`` bytes were taken within so many seconds."""
        if size <= SMALL:
            return
        self.progress = time.monotonic()
        safe = min(_MOST, int(size / max(seconds, 1e-3) * self.timeout / 4))
        with self._changed:
            if size >= _TELLING and safe >= FIRST and safe > self.most:
                self.most = safe
                self._changed.notify_all()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Let less be under way where nothing is heard of the upload in this block for a whole time-out."""
        began = time.monotonic()
        try:
            yield
        except StoreUnreachableError:
            if time.monotonic() - began > 0.9 * self.timeout:  # else it is the server that is not there
                self.most = LEAST
            raise
