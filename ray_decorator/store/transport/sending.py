"""How objects get into a store: whole in one request, or in parts, as the line bears it (`uplink`, `parts`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import obstore

from .backends import Backends
from .faults import Faults
from .parts import Faster, PartsUpload
from .patience import Patience
from .uplink import LEAST, SMALL, Uplink

_GRACE = 1.0  # seconds; obstore itself gives up before
_LARGE = 512 * 1024 * 1024  # worth beginning anew with more parts at once, and each part worth many tries
_MOST_PARTS = 9_000  # S3 takes 10,000 parts at most

Chunks = Callable[[], Iterable[bytes]]
"""Makes the bytes of an object, anew for each attempt."""


class Sending:
    """One attempt at an upload; the store sees to further ones. Raises StoreError and its kin."""

    def __init__(
        self, place: str, backends: Backends, faults: Faults, patience: Patience, uplink: Uplink
    ) -> None:
        self._place, self._backends, self._faults = place, backends, faults
        self._patience, self._uplink = patience, uplink

    def whole(self, key: str, data: bytes) -> None:
        """Write an object in one request, if the line bears that."""
        with self._uplink.hold(len(data)) as granted, self._uplink.watched():
            if granted < len(data):
                return self._send(key, [data], len(data), LEAST, 1, None)
            backend = self._backends.small if len(data) <= SMALL else self._backends.whole
            began = time.monotonic()
            with self._faults.translated(key):
                obstore.put(backend, key, data, use_multipart=False)
            self._uplink.took(len(data), time.monotonic() - began)

    def in_parts(self, key: str, chunks: Chunks, size: int, part: int, wanted: int) -> None:
        """Write an object of ``size`` bytes in parts of ``part`` bytes, ``wanted`` of them at once.

        Over a slow line parts are smaller, and fewer at once.
        """
        try:
            with (
                self._uplink.hold(min(size, wanted * part_size(size, part))) as granted,
                self._uplink.watched(),
            ):
                part = part_size(size, min(part, LEAST) if self._uplink.slow else part)
                window = max(1, min(wanted, granted // part))
                self._send(key, chunks(), size, part, window, wanted)
        except Faster:
            self.in_parts(key, chunks, size, part, wanted)

    def _send(
        self, key: str, chunks: Iterable[bytes], size: int, part: int, window: int, wanted: int | None
    ) -> None:
        large = wanted is not None and size >= _LARGE
        patient = self._backends.local or (large and window == wanted)
        backend = self._backends.patient if patient else self._backends.whole
        upload = PartsUpload(
            self._place,
            self._patience,
            self._uplink,
            part,
            window,
            wanted if large and not patient else None,
        )

        def put(pieces: Iterator[bytes]) -> None:
            with self._faults.translated(key):
                obstore.put(backend, key, pieces, use_multipart=True, chunk_size=part, max_concurrency=window)

        first = max(self._patience.seconds if patient else 0.0, self._backends.timeout + _GRACE)
        upload.run(put, chunks, first)


def part_size(size: int, part: int) -> int:
    """How large the parts of an upload of ``size`` bytes are that asks for parts of ``part`` bytes."""
    return max(part, -(-size // _MOST_PARTS))
