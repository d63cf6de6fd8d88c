"""An upload in parts that ends: whole, with its error, or when the store has taken no part for too long.

obstore sends the parts, several at once, and each again by itself; it tells of nothing meanwhile. That a part was
taken shows in the next piece that it asks for. An upload that is given up is left to a thread of its own, which
ends with its requests: it would first tell a store that does not answer to forget what it has.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait

from ...core.errors import StoreUnreachableError
from .patience import Patience
from .uplink import Uplink

_TICK = 0.5  # seconds


class Faster(Exception):
    """The line has shown that it bears more parts at once than this upload has under way."""


class PartsUpload:
    """One attempt. ``window`` parts of ``part`` bytes are under way at once; ``wanted`` would be, on a fast line."""

    def __init__(
        self, place: str, patience: Patience, uplink: Uplink, part: int, window: int, wanted: int | None
    ) -> None:
        """``wanted`` None: whatever the line shows, this upload goes on as it is."""
        self._place, self._patience, self._uplink = place, patience, uplink
        self._part, self._ahead = part, window * part
        self._enough = None if wanted is None else wanted * part
        self._given_up = False
        self._moving = False
        self._stopped: BaseException | None = None

    def run(self, put: Callable[[Iterator[bytes]], None], pieces: Iterable[bytes], first: float) -> None:
        """Have ``put`` send the pieces. Raises its error, or StoreUnreachableError where no part is taken.

        ``first`` is for how many seconds that may be so before the first part; later it is the patience.
        """
        done: Future[None] = Future()
        self._began = self._asked_last = time.monotonic()

        def send() -> None:
            try:
                put(self._moved(pieces))
            except BaseException as exc:
                # where the store refuses to forget the parts, obstore tells that alone
                done.set_exception(self._stopped or exc)
            else:
                done.set_result(None)

        threading.Thread(target=send, name="ray-s3-upload", daemon=True).start()
        try:
            self._wait(done, first)
        except BaseException:
            self._given_up = True
            raise

    def _wait(self, done: Future[None], first: float) -> None:
        with self._patience.still() as still:
            while not wait([done], _TICK).done:
                silent = time.monotonic() - self._asked_last
                # a slow line takes a part in less than a time-out
                still(silent if not self._uplink.slow or silent > self._uplink.timeout else 0.0)
                if silent > (max(first, self._patience.seconds) if self._moving else first):
                    raise self._stopped or StoreUnreachableError(
                        f"nobody answers for {self._place} (of an upload, no part was taken for {silent:.0f} s): "
                        "check that the server runs, and that nothing on the way there holds back large uploads"
                    )
        done.result()

    def _moved(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        try:
            yield from self._cut(pieces)
        except Exception as exc:
            self._stopped = exc
            raise

    def _cut(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        given = 0
        for piece in pieces:
            for start in range(0, len(piece), self._part):
                self._asked(given)
                part = piece if len(piece) <= self._part else piece[start : start + self._part]
                given += len(part)
                yield part
        self._asked(given)

    def _asked(self, given: int) -> None:
        if self._given_up:
            raise StoreUnreachableError(f"an upload to {self._place} was given up")
        self._asked_last = time.monotonic()
        if (taken := given - self._ahead) > 0:
            self._moving = True
            self._uplink.took(taken, self._asked_last - self._began)
            if self._enough is not None and self._uplink.most >= self._enough:
                raise Faster
