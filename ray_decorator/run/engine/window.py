"""How many jobs are handed to the cluster at once: enough to keep it busy, and not all that there are."""

from __future__ import annotations

import threading
from collections.abc import Callable

_LEAST = 64
_LOOK_AGAIN = 1.0  # seconds; the cluster may have grown


class Window:
    """Places for jobs in flight: twice what the cluster can run, at least 64, at most ``most``."""

    def __init__(self, capacity: Callable[[], int], most: int | None) -> None:
        self._capacity, self._most = capacity, most
        self._taken = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def acquire(self) -> None:
        """Wait for a place, and take it. Raises the error of `fail`."""
        while not self.acquire_within(_LOOK_AGAIN):
            pass

    def acquire_within(self, seconds: float) -> bool:
        """Wait for a place for so long at the most; whether it is taken. Raises the error of `fail`."""
        with self._changed:
            if self._error is None and self._taken >= self._limit():
                self._changed.wait(seconds)
            if self._error is not None:
                raise self._error
            if self._taken >= self._limit():
                return False
            self._taken += 1
            return True

    def release(self) -> None:
        """Give a place back."""
        with self._changed:
            self._taken -= 1
            self._changed.notify()

    def fail(self, error: BaseException) -> None:
        """Nobody gets a place any more: who waits for one, or will, gets the error."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _limit(self) -> int:
        limit = max(_LEAST, 2 * self._capacity())
        return limit if self._most is None else min(limit, self._most)
