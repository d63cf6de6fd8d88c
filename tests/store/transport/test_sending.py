"""Objects get into a store whole or in parts, whatever the line bears."""

from __future__ import annotations

import pytest

from ray_decorator.store.store import Store
from ray_decorator.store.transport.sending import Sending, part_size
from ray_decorator.store.transport.uplink import FIRST, LEAST, Uplink

MIB = 1024 * 1024
DATA = bytes(range(256)) * (11 * MIB // 256)


@pytest.fixture(params=["fast", "slow"])
def sending(request: pytest.FixtureRequest, store: Store) -> Sending:
    line = Uplink("there", 180, FIRST if request.param == "fast" else LEAST)
    return Sending("there", store._backends, store._faults, store.patience, line)


def read(store: Store, key: str) -> bytes:
    found = store.get(key)
    assert found is not None
    return bytes(found.read())


def test_whole_objects(sending: Sending, store: Store) -> None:
    sending.whole("small", b"bytes")
    sending.whole("large", DATA)  # on a slow line it is sent in parts, too
    assert read(store, "small") == b"bytes" and read(store, "large") == DATA


def test_in_parts(sending: Sending, store: Store) -> None:
    sending.in_parts("parts", lambda: [DATA[: 8 * MIB], DATA[8 * MIB :]], len(DATA), 8 * MIB, 4)
    assert read(store, "parts") == DATA


def test_parts_are_as_many_as_s3_takes() -> None:
    assert part_size(100, LEAST) == LEAST
    assert -(-(1 << 40) // part_size(1 << 40, LEAST)) <= 10_000
