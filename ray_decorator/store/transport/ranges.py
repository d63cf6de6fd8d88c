"""A large object to a file: several ranges at once, each a stream that is written where it belongs as it comes.

Each range costs a request, whatever its length: some servers read the object anew for it. So ranges are long, and
memory is only what the streams hold. Who wants the bytes in their order reads the file behind them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

_SHORTEST, _LONGEST = 8 * 1024 * 1024, 64 * 1024 * 1024
# bytes that may have come before they are looked at: the page cache still has them
_LEAD = 1024 * 1024 * 1024

Read = Callable[[int, int], Iterable["Buffer"]]
"""Gives the bytes from one offset to another, in pieces. Ends early where there are no more."""


def write_at(fd: int, data: Buffer, offset: int) -> None:
    """Write all of the data to a file, from ``offset`` on."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count


class Ranges:
    """One object of ``size`` bytes on its way into the file behind ``fd``, ``at_once`` ranges at once."""

    def __init__(self, read: Read, fd: int, size: int, at_once: int) -> None:
        self._read, self._fd, self._at_once = read, fd, at_once
        length = min(_LONGEST, max(_SHORTEST, -(-size // (2 * at_once))))
        self._spans = [(start, min(start + length, size)) for start in range(0, size, length)]
        self._come = [start for start, _ in self._spans]
        self._taken = 0
        self._writing = 0
        self._problem: BaseException | None = None
        self._ended = False
        self._changed = threading.Condition()

    def ordered(self, most: int) -> Generator[bytes, None, None]:
        """The bytes in their order, in pieces of at most ``most``, as soon as they are there.

        Once it is closed, nothing is written to the file any more. Raises what reading or writing raises, EOFError
        where a range ends early.
        """
        readers = ThreadPoolExecutor(self._at_once, thread_name_prefix="ray-s3-ranges")
        try:
            for number in range(len(self._spans)):
                readers.submit(self._bring, number)
            for number, (_, stop) in enumerate(self._spans):
                while self._taken < stop:
                    yield self._next(min(most, self._come_of(number) - self._taken))
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._writing)
            # who waits for the server ends within the patience
            readers.shutdown(wait=False, cancel_futures=True)

    def _come_of(self, number: int) -> int:
        """To which offset a range has come, once that is further than what was taken."""
        with self._changed:
            self._changed.wait_for(lambda: self._problem is not None or self._come[number] > self._taken)
            if self._problem is not None:
                raise self._problem
            return self._come[number]

    def _next(self, size: int) -> bytes:
        data = os.pread(self._fd, size, self._taken)
        with self._changed:
            self._taken += len(data)
            self._changed.notify_all()
        return data

    def _bring(self, number: int) -> None:
        start, stop = self._spans[number]
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._is_over() or start - self._taken <= _LEAD)
            if self._is_over():
                return
            for piece in self._read(start, stop):
                if not self._write(piece, number):
                    return
            if self._come[number] < stop:
                raise EOFError(f"it ends after {self._come[number]} bytes")
        except BaseException as exc:  # raised again by _come_of, in the thread that asked
            with self._changed:
                self._problem = self._problem or exc
                self._changed.notify_all()

    def _is_over(self) -> bool:
        return self._ended or self._problem is not None

    def _write(self, piece: Buffer, number: int) -> bool:
        """False where nothing is to be written any more."""
        with self._changed:
            if self._is_over():
                return False
            self._writing += 1
        written = 0
        try:
            write_at(self._fd, piece, self._come[number])
            written = len(memoryview(piece))
        finally:
            with self._changed:
                self._writing -= 1
                self._come[number] += written
                self._changed.notify_all()
        return True
