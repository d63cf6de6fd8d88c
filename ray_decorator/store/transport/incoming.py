"""An object on its way from a store: its size is known, its bytes are yet to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ...core.errors import StoreError
from .faults import Faults
from .patience import Patience

if TYPE_CHECKING:
    from obstore import Bytes, GetResult


class Incoming:
    """An answer whose body is not read yet. What is cut off is asked for again.

    All that reads raises MissingObjectError where the object is gone by then.
    """

    def __init__(
        self,
        key: str,
        result: GetResult,
        ask: Callable[[], GetResult],
        faults: Faults,
        patience: Patience,
        rest: Callable[[int], GetResult] | None = None,
    ) -> None:
        """``ask`` sends the request for the object ``key`` again, ``rest`` one for what comes after so many bytes.

        Without ``rest``, what has come is skipped: many servers answer a range with all there is.
        """
        self._key, self._ask, self._faults, self._patience = key, ask, faults, patience
        self._rest = rest
        self._result: GetResult | None = result
        self.size = int(result.meta["size"])

    def hang_up(self) -> None:
        """Let go of the answer. What reads it all the same asks anew."""
        self._result = None

    def read(self) -> Bytes:
        """All of it."""

        def attempt() -> Bytes:
            result = self._asked()
            with self._faults.reading(self._key):
                return result.bytes()

        return self._patience.keep(attempt)

    def read_at_most(self, most: int) -> bytes:
        """All of it, where that is no more than so many bytes. Raises ValueError for what is larger."""
        if self.size > most:
            raise ValueError(f"it has {self.size} bytes, more than {most}")
        return bytes(self.read())

    def chunks(self, size: int) -> Iterator[Bytes | memoryview]:
        """Piece by piece, each of about ``size`` bytes, as they come."""
        given = 0
        stream: Iterator[Bytes | memoryview] = self._stream(size)

        def attempt() -> Bytes | memoryview | None:
            nonlocal stream
            try:
                return next(stream, None)
            except StoreError:
                stream = self._resumed(given, size)
                raise

        while (piece := self._patience.keep(attempt)) is not None:
            given += len(memoryview(piece))
            yield piece

    def _stream(self, size: int) -> Iterator[Bytes]:
        result = self._asked()
        with self._faults.reading(self._key):
            yield from result.stream(min_chunk_size=size)

    def _resumed(self, given: int, size: int) -> Iterator[Bytes | memoryview]:
        if self._rest is None:
            yield from _after(given, self._stream(size))
            return
        with self._faults.reading(self._key):
            yield from self._rest(given).stream(min_chunk_size=size)

    def _asked(self) -> GetResult:
        if (result := self._result) is None:
            with self._faults.reading(self._key):
                return self._ask()
        self._result = None
        return result


def _after(skipped: int, pieces: Iterable[Bytes]) -> Iterator[memoryview]:
    for piece in pieces:
        view = memoryview(piece)
        if rest := view[skipped:]:
            yield rest
        skipped = max(0, skipped - len(view))
