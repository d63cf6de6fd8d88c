"""An object on its way: what is cut off is asked for again, and nothing of it comes twice."""

from __future__ import annotations

import os

import pytest
import servers
from store_fixtures import s3_store

from ray_decorator.store.store import Store
from ray_decorator.store.transport.incoming import Incoming

DATA = os.urandom((3 << 20) + 17)


@pytest.mark.parametrize("kind", ["rclone", "moto"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_body_that_is_cut_off_is_asked_for_again(
    kind: str, whole: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    gets: list[str] = []

    def cut_the_first(verb: str, path: str) -> servers.Fault | None:
        gets.extend([path] * (verb == "GET"))
        return "cut" if verb == "GET" and len(gets) == 1 else None

    with servers.counting(request.getfixturevalue(kind), fault=cut_the_first) as (proxy, _):
        store = s3_store(proxy, monkeypatch)
        store.put("a", DATA)
        incoming = store.get("a")
        assert isinstance(incoming, Incoming) and incoming.size == len(DATA)
        pieces = [incoming.read()] if whole else list(incoming.chunks(1 << 20))
    assert b"".join(map(bytes, pieces)) == DATA
    assert len(gets) == 2


def test_pieces_are_about_as_large_as_asked(store: Store) -> None:
    store.put("a", DATA)
    incoming = store.get("a")
    assert incoming is not None
    pieces = [bytes(piece) for piece in incoming.chunks(1 << 20)]
    assert b"".join(pieces) == DATA and len(pieces) >= 1
