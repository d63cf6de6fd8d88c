"""How long a store may stay away: requests are sent again until then, and one line says that a run waits for it.

What is waited for: no connection, a connection that is cut, no answer, an answer 5xx or 429 (but not 501, by which a
server says that it does not know such a request). It is measured in time, not in tries: a server that was down for
half a minute has cost a run half a minute. The time counts from the last progress: a request that is not answered is
given up after half of the patience at most (`request_timeout`), so the second one in a row is an error within it.

Once it is over, what comes next does not wait for it all over again: for a while nothing is sent, then one failure is
enough.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from ...core.errors import InputError, StoreError, StoreUnreachableError, text_of

log = logging.getLogger(__name__)

T = TypeVar("T")

SECONDS = 180.0
_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_SILENT = 30.0  # seconds for which a request may have gone without an answer before it failed
_STILL = 20.0  # seconds; most lines take a part in less
_SHORTEST = 2.0  # seconds; a server that is busy, but well, needs that
_QUIET = 2.0  # seconds of trouble that nobody needs to hear of
_PASSING = re.compile(
    r"kind: |[Ss]erver error|status(: | code )(5(?!01)\d\d|429)|SlowDown|InternalError|ServiceUnavailable"
    r"|error decoding|connection (closed|reset)|[Ii]ncomplete|Error performing DELETE"
)
"""What obstore says of requests that may succeed when sent again; of a lost answer it tells the DELETE after it."""
_COMPLETION = re.compile(r"\?uploadId=")  # that of a part has a partNumber first


def patience() -> float:
    """For how many seconds a store may stay away: RAY_S3_STORE_PATIENCE, 180 by default.

    Raises InputError for what is no such number.
    """
    given = os.environ.get("RAY_S3_STORE_PATIENCE") or str(SECONDS)
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InputError(
            f"RAY_S3_STORE_PATIENCE is {given!r}; expected for how many seconds a run may wait for a store that "
            f"does not answer, a number such as {SECONDS:.0f}"
        )
    return seconds


def request_timeout(patience: float, most: float = math.inf) -> float:
    """For how many seconds a request may go without an answer: half of the patience, at least 2, at most ``most``."""
    return min(most, max(_SHORTEST, patience / 2))


def is_passing(error: StoreError) -> bool:
    """Whether the same request may succeed when it is sent again."""
    if isinstance(error, StoreUnreachableError):
        return True
    return type(error) is StoreError and bool(_PASSING.search(text_of(error.__cause__ or error)))


def is_of_completion(error: StoreError) -> bool:
    """Whether all parts of an upload were taken, and the request failed that makes, or would forget, the object."""
    return bool(_COMPLETION.search(text_of(error.__cause__ or error)))


class _Gone(NamedTuple):
    """When the patience was over, and with what."""

    at: float
    error: StoreError


class Patience:
    """Shared by all threads that use one store: what one of them has seen, the others need not tell again."""

    def __init__(self, place: str, seconds: float) -> None:
        self.seconds = seconds
        self._place = place
        self._lock = threading.Lock()
        self._since: float | None = None
        self._told = False
        # when it was over last, and when a request was answered last, for uploads and for all else
        self._gone: dict[bool, _Gone] = {}
        self._answered = {False: 0.0, True: 0.0}

    def keep(
        self,
        attempt: Callable[[], T],
        passing: Callable[[StoreError], bool] = is_passing,
        progress: Callable[[], float] | None = None,
    ) -> T:
        """What ``attempt`` returns in the end. Raises its error where that stays, or was no passing one.

        The patience is counted from when the first attempt that failed was begun, or from the last ``progress``
        within one (by time.monotonic; given for uploads). Where it was over for another request, and nothing was
        answered since, there is no attempt for half of it (30 s at most), and then a first failure is enough; answers
        to other requests say nothing of uploads.
        """
        self._raise_if_over(progress is not None)
        began: float | None = None
        pause = _PAUSE
        while True:
            started = time.monotonic()
            try:
                result = attempt()
            except StoreError as exc:
                now = time.monotonic()
                if not passing(exc):
                    if began is not None:
                        self._forget()
                    raise
                began = max(started if began is None else began, progress() if progress else 0.0)
                if now - began >= self.seconds or self._is_gone(now, progress is not None):
                    if self._answered[progress is not None] <= began:  # else it is this request alone
                        self._gone[progress is not None] = _Gone(now, exc)
                    self._forget()
                    raise
                self._trouble(exc, max(started, now - _SILENT), now)
                time.sleep(min(pause, max(0.0, began + self.seconds - now)))
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            self._gone.pop(progress is not None, None)
            self._answered[progress is not None] = time.monotonic()
            if began is not None:
                self._over()
            return result

    def _is_gone(self, now: float, uploads: bool) -> bool:
        gone = self._gone.get(uploads)
        return gone is not None and now - gone.at < self.seconds

    def _raise_if_over(self, uploads: bool) -> None:
        rest = min(_SILENT, self.seconds / 2)
        for kind in {False, uploads}:  # where nothing at all is answered, no upload is
            gone = self._gone.get(kind)
            if gone is not None and time.monotonic() - gone.at < rest:
                raise type(gone.error)(text_of(gone.error)) from gone.error

    @contextlib.contextmanager
    def still(self) -> Iterator[Callable[[float], None]]:
        """Tell of an upload that obstore sends again and again by itself, and that takes no part for a while.

        Yields what is called, now and then, with the seconds since the last part was taken.
        """
        told = False

        def heard(silent: float) -> None:
            nonlocal told
            if silent > min(_STILL, self.seconds / 4):
                told, now = True, time.monotonic()
                self._trouble(
                    StoreError(f"no part of an upload was taken for {silent:.0f} s"), now - silent, now
                )
            elif told:
                told = False
                self._over()

        yield heard
        if told:
            self._over()

    def _trouble(self, error: StoreError, began: float, now: float) -> None:
        with self._lock:
            self._since = began if self._since is None else self._since
            tell = not self._told and now - self._since >= min(_QUIET, self.seconds / 4)
            self._told |= tell
        if tell:
            log.warning(
                "%s does not answer as it should: waiting for it, up to %.0f s "
                "(RAY_S3_STORE_PATIENCE). It says: %s",
                self._place,
                self.seconds,
                text_of(error.__cause__ or error).partition("\n")[0],
            )

    def _over(self) -> None:
        with self._lock:
            if self._told and self._since is not None:
                log.info("%s answers again, after %.0f s", self._place, time.monotonic() - self._since)
            self._since, self._told = None, False

    def _forget(self) -> None:
        """The trouble has ended in an error, which says it: what comes next is told of anew."""
        with self._lock:
            self._since, self._told = None, False
