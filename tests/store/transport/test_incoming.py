"""An object on its way: what is cut off is asked for again, and nothing of it comes twice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import obstore
import pytest
import servers
from store_fixtures import s3_store

from ray_decorator.core.errors import CorruptObjectError
from ray_decorator.store.identity import locate
from ray_decorator.store.store import Store, open_store
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


@pytest.mark.parametrize("cuts", [1, 8])
def test_of_a_range_only_the_rest_is_asked_for(
    cuts: int, moto: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer is cut in its middle: what would begin anew each time would not end."""
    asked: list[tuple[int, int]] = []
    get, left = obstore.get, [cuts]

    def noted(backend: Any, key: str, *, options: Any = None) -> Any:
        if options is not None:
            asked.append(options["range"])
        return get(backend, key, options=options)

    def cut(verb: str, path: str) -> servers.Fault | None:
        left[0] -= verb == "GET"
        return "cut" if verb == "GET" and left[0] >= 0 else None

    monkeypatch.setattr(obstore, "get", noted)
    with servers.counting(moto, fault=cut) as (proxy, _):
        store = s3_store(proxy, monkeypatch)
        store.put("a", DATA)
        pieces = list(store.get_range("a", 1000, 3 << 20, 1 << 16))
    assert b"".join(map(bytes, pieces)) == DATA[1000 : 3 << 20]
    assert asked[0] == (1000, 3 << 20) and (len(asked) > 1) == (cuts > 4), "obstore itself asks four times"
    assert [start for start, _ in asked] == sorted({start for start, _ in asked}), (
        "each goes on where one ended"
    )
    assert {stop for _, stop in asked} == {3 << 20}


@pytest.mark.parametrize("start", [0, 1000])
@pytest.mark.parametrize("kind", ["moto", "file"])
def test_a_range_of_what_is_shorter_now(
    kind: str, start: int, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "file":
        store = open_store(locate((tmp_path / "store").as_uri()))
    else:
        store = s3_store(request.getfixturevalue(kind), monkeypatch)
    store.put(key := "files/md5/ab/c", b"x" * 100)
    with pytest.raises(CorruptObjectError, match=f"the object {key} of .* was replaced while it was read"):
        list(store.get_range(key, start, 3000, 1 << 16))


def test_pieces_are_about_as_large_as_asked(store: Store) -> None:
    store.put("a", DATA)
    incoming = store.get("a")
    assert incoming is not None
    pieces = [bytes(piece) for piece in incoming.chunks(1 << 20)]
    assert b"".join(pieces) == DATA and len(pieces) >= 1
