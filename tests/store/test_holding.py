"""Whether a store holds just these bytes: what its ETags tell, and what they do not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import servers
from store_fixtures import s3_store
from trees import QUIET

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.looking.snapshot import Entry, snapshot
from ray_decorator.content.manifest import object_key
from ray_decorator.store.holding import holds
from ray_decorator.store.store import Seen, Store
from ray_decorator.store.upload import _PART, Uploads

MIB = 1024 * 1024


def entry_of(path: Path, data: bytes) -> Entry:
    path.write_bytes(data)
    [entry] = snapshot(path, HashCache.in_memory(), QUIET).entries
    return entry


@pytest.mark.parametrize("size", [0, 1000, 17 * MIB, 24 * MIB])
def test_what_we_uploaded_is_seen_to_be_there(store: Store, tmp_path: Path, size: int) -> None:
    entry = entry_of(tmp_path / "f", os.urandom(size))
    key = object_key(entry.md5)
    assert not holds(store, store.look(key), entry, _PART)
    assert Uploads(store, QUIET).bring(entry).sent
    assert holds(store, store.look(key), entry, _PART)
    assert [holds(store, seen, entry, _PART) for page in store.look_at_all("files/md5") for seen in page] == [
        True
    ]


@pytest.mark.parametrize("size", [1000, 17 * MIB])
def test_other_bytes_of_the_same_size_are_seen(store: Store, tmp_path: Path, size: int) -> None:
    entry = entry_of(tmp_path / "f", b"1" * size)
    key, bad = object_key(entry.md5), b"1" * (size - 1) + b"2"
    if size < MIB:
        store.put(key, bad)
    else:
        store.put_parts(key, lambda: [bad[n : n + MIB] for n in range(0, size, MIB)], size, 8 * MIB, 4)
    assert not holds(store, store.look(key), entry, _PART)


@pytest.mark.parametrize("etag", ["", "0" * 32, "0" * 32 + "-1", "opaque"])
def test_an_etag_that_says_nothing_of_the_bytes_is_a_no(
    rclone: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, etag: str
) -> None:
    entry = entry_of(tmp_path / "f", b"data")
    s3 = s3_store(rclone, monkeypatch)
    assert not holds(s3, Seen("k", 4, etag), entry, _PART)
    assert holds(s3, Seen("k", 4, entry.md5), entry, _PART)
    assert not holds(s3, Seen("k", 5, entry.md5), entry, _PART)
