"""What a job wrote goes to a store: what can go goes, there is no second patience, spoilt objects are named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import servers
from store_fixtures import s3_store
from trees import QUIET, numbered, read, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.looking.snapshot import Snapshot, snapshot
from ray_decorator.content.manifest import object_key
from ray_decorator.core.errors import InputError, StoreDeniedError, StoreUnreachableError
from ray_decorator.store.pushing import Pushed, push_each
from ray_decorator.store.store import Store
from ray_decorator.store.transfer import pull, push

MIB = 1 << 20

pytestmark = pytest.mark.usefixtures("small_parts")


def pushed(store: Store, *paths: Path) -> tuple[list[Snapshot], list[Pushed]]:
    hashes = HashCache.in_memory()
    taken = [snapshot(path, hashes, QUIET) for path in paths]
    return taken, push_each(taken, store, hashes, QUIET)


def keys(one: Snapshot) -> list[str]:
    return [object_key(entry.md5) for entry in one.entries]


@pytest.fixture
def outs(tmp_path: Path) -> Sequence[Path]:
    """What a job may leave: one large file, a small one, a directory that has both kinds, and one of small files."""
    large = os.urandom(MIB)
    return (
        tree(tmp_path / "a", {"f": large}) / "f",
        tree(tmp_path / "b", {"f": b"small"}) / "f",
        tree(tmp_path / "c", {"f": large, "g": b"1"}),
        tree(tmp_path / "d", numbered(20)),
    )


@pytest.mark.parametrize("swallows", ["large uploads", "all uploads", "all"])
def test_a_store_that_never_answers_costs_one_patience(
    moto: servers.Server, outs: Sequence[Path], monkeypatch: pytest.MonkeyPatch, swallows: str
) -> None:
    """A request may take half of it: so there are two of each, and no third one in any way."""
    monkeypatch.setenv("RAY_S3_STORE_PATIENCE", "4")
    asked: list[tuple[str, str]] = []
    large = HashCache.in_memory()
    key = keys(snapshot(outs[0], large, QUIET))[0]

    def fault(verb: str, path: str) -> servers.Fault | None:
        of_all = {"large uploads": key in path, "all uploads": True, "all": True}
        if (verb == "PUT" or swallows == "all") and of_all[swallows]:
            asked.append((verb, path))
            return "stall"
        return None

    with servers.counting(moto, fault=fault) as (proxy, _):
        store = s3_store(proxy, monkeypatch)
        taken, came = pushed(store, *outs)
        gone = [isinstance(one.error, StoreUnreachableError) for one in came]
        assert gone == [True, swallows != "large uploads", True, swallows != "large uploads"]
        assert asked and max(asked.count(one) for one in asked) == 2
        if swallows == "large uploads":
            assert {store.head(key) for one in (taken[1], taken[3]) for key in keys(one)} != {None}
            assert store.head(object_key(taken[3].content.digest)) is not None
            assert store.head(object_key(taken[2].content.digest)) is None, "no manifest before its files"


def test_one_that_cannot_go_keeps_none_of_the_others(
    rclone: servers.Server, outs: Sequence[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Denied by the store, or changed since it was hashed."""
    denied = keys(snapshot(outs[0], HashCache.in_memory(), QUIET))[0]
    with servers.counting(rclone, refuse=lambda verb, path: verb == "PUT" and denied in path) as (proxy, _):
        store, hashes = s3_store(proxy, monkeypatch), HashCache.in_memory()
        changing = tree(tmp_path / "e", {"f": b"before"})
        taken = [snapshot(path, hashes, QUIET) for path in (*outs, changing)]
        (changing / "f").write_bytes(b"later")
        came = push_each(taken, store, hashes, QUIET)
        errors = (StoreDeniedError, None, StoreDeniedError, None, InputError)
        assert [type(one.error) if one.error else None for one in came] == list(errors)
        assert pull(taken[3].content, tmp_path / "home", store, None, QUIET) > 0
        assert read(tmp_path / "home") == read(outs[3])
        assert hashes.known(store.place, [one.content.digest for one in taken]) == {
            taken[1].content.digest,
            taken[3].content.digest,
        }


@pytest.mark.parametrize("more", [b"", b"more"], ids=["the same size", "another size"])
def test_what_was_spoilt_is_replaced_and_named(
    store: Store, tmp_path: Path, outs: Sequence[Path], more: bytes
) -> None:
    """Small and large, in parts, a few and many that are listed, and a manifest."""
    parts = tmp_path / "parts"
    parts.write_bytes(os.urandom(MIB) * 6)
    taken, first = pushed(store, *outs, parts)
    assert all(one.error is None and not one.spoilt for one in first)
    spoilt = {key for one in taken for key in keys(one)[:1]} | {object_key(taken[3].content.digest)}
    for key in spoilt:
        size = store.head(key) or 0
        bad = b"x" * size + more
        if size > 5 * MIB:
            pieces = [bad[start : start + 5 * MIB] for start in range(0, len(bad), 5 * MIB)]
            store.put_parts(key, lambda pieces=pieces: pieces, len(bad), 5 * MIB, 4)  # type: ignore[misc]
        else:
            store.put(key, bad)
    _, again = pushed(store, *outs, parts)
    named = [key for one in again for _, key in one.spoilt]
    assert sorted(named) == sorted(spoilt) and all(one.error is None for one in again)
    for number, one in enumerate(taken):
        pull(one.content, tmp_path / "home" / str(number), store, None, QUIET)
    assert read(tmp_path / "home" / "3") == read(outs[3])
    _, third = pushed(store, *outs, parts)
    assert not any(one.sent or one.spoilt for one in third)


def test_an_etag_that_is_no_md5_is_no_sign_of_spoilt_bytes(
    moto: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the store encrypts, or another program uploaded the same file in parts of its own."""
    (tmp_path / "f").write_bytes(b"encrypted")
    (tmp_path / "large").write_bytes(os.urandom(MIB) * 11)
    store = s3_store(moto, monkeypatch)
    taken, _ = pushed(store, tmp_path / "large")
    data = (tmp_path / "large").read_bytes()
    store.put_parts(keys(taken[0])[0], lambda: [data], len(data), 10 * MIB, 2)
    _, again = pushed(store, tmp_path / "large")
    assert again[0].sent == len(data) and not again[0].spoilt
    real = Store.look

    def opaque(self: Store, key: str) -> object:
        seen = real(self, key)
        return None if seen is None else seen._replace(etag="0" * 32)

    taken, _ = pushed(store, tmp_path / "f")
    monkeypatch.setattr(Store, "look", opaque)
    _, again = pushed(store, tmp_path / "f")
    assert again[0].sent and not again[0].spoilt


@pytest.mark.parametrize("size", [200_000, 20])
def test_a_dep_of_another_size_is_replaced_with_a_warning(
    store: Store, hashes: HashCache, tmp_path: Path, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    source = tree(tmp_path / "t", {"f": b"1" * size, "g": b"2"})
    taken = snapshot(source, hashes, QUIET)
    key = next(object_key(entry.md5) for entry in taken.entries if entry.relpath == "f")
    store.put(key, b"cut")
    push(taken, store, hashes, QUIET)
    assert store.head(key) == size
    [told] = [record.getMessage() for record in caplog.records if "other bytes" in record.getMessage()]
    assert (
        told
        == f"{store.url} held other bytes in the place of 1 object(s): {source}/f ({key}). They were replaced"
    )
