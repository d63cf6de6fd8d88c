"""Credentials that end: when new ones are fetched, and how an open store takes them up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ...core.errors import StoreError
from ...core.values.stores import Credentials

if TYPE_CHECKING:
    from obstore.store import S3Credential

Renew = Callable[[], Credentials | None]
"""Gives the newest credentials there are, None where there are none. Raises StoreError where it fails."""

# botocore asks for new credentials in the last 15 minutes of the old ones at the earliest
_LONGEST_MARGIN = 14 * 60.0
_LONGEST_STORE_MARGIN = 5 * 60.0
_PAUSE = 2.0  # between two questions for credentials, where the first has brought nothing new


def renewal_time(expires: float, now: float) -> float:
    """When to fetch the successors of credentials that end at ``expires``: with a third of their time left.

    All in seconds since 1970. At least one second before they end, and 14 minutes at most.
    """
    return expires - max(1.0, min((expires - now) / 3, _LONGEST_MARGIN))


def clock(moment: float) -> str:
    """Seconds since 1970 as a user reads them, with this machine's offset from UTC."""
    return datetime.fromtimestamp(moment, UTC).astimezone().isoformat(sep=" ", timespec="seconds")


class Provider:
    """What obstore asks for credentials: at first, and again each time that ``expires_at`` has come.

    Asks ``renew`` later than the driver fetches new ones (`renewal_time`), so that they are there by then.
    May be called from any thread; obstore calls it from its own as well.
    """

    def __init__(self, credentials: Credentials, renew: Renew | None) -> None:
        self._held, self._renew = credentials, renew
        self._next = _ask_again(credentials, time.time()) if renew else None
        self._problem = ""
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Provider(expires={self._held.expires})"

    def __call__(self) -> S3Credential:
        with self._lock:
            if self._next is not None and time.time() >= self._next:
                self._take_newest()
            return {
                "access_key_id": self._held.access_key,
                "secret_access_key": self._held.secret_key,
                "token": self._held.token,
                "expires_at": None if self._next is None else datetime.fromtimestamp(self._next, UTC),
            }

    def lapsed(self) -> str | None:
        """Where the credentials have ended: since when, and why there are no newer ones, for a message."""
        with self._lock:
            if self._held.expires is None or time.time() < self._held.expires:
                return None
            since = f"they expired at {clock(self._held.expires)}"
            return f"{since}, and were not renewed: {self._problem}" if self._problem else since

    def _take_newest(self) -> None:
        assert self._renew is not None
        try:
            newest, self._problem = self._renew(), ""
        except StoreError as exc:  # the old ones are handed on: only the server knows its own clock
            newest, self._problem = None, str(exc)
        now = time.time()
        if newest is None or newest == self._held:
            self._next = now + _PAUSE
            return
        self._held = newest
        again = _ask_again(newest, now)
        self._next = None if again is None else max(again, now + min(_PAUSE, 1.0))


def _ask_again(credentials: Credentials, now: float) -> float | None:
    if credentials.expires is None:
        return None
    left = max(0.0, credentials.expires - now)
    return credentials.expires - min(left / 10, _LONGEST_STORE_MARGIN)
