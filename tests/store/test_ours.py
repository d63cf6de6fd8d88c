"""Below ray_s3/ what is old goes, unless something that stays names it; nothing else in the store is touched."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from ray_decorator.content.manifest import dump, object_key
from ray_decorator.store.identity import locate
from ray_decorator.store.ours import digests_of, find, remove
from ray_decorator.store.store import Store, open_store


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def keys(store: Store) -> list[str]:
    return sorted(key for page in store.list("") for key, _ in page)


def manifest(store: Store, folder: str, *names: str) -> str:
    """A directory below ours, as data lies in a store; its digest."""
    for name in names:
        store.put(f"ray_s3/{folder}/{object_key(md5(name))}", name.encode())
    digest, data = dump((name, md5(name)) for name in names)
    store.put(f"ray_s3/{folder}/{object_key(digest)}", data)
    return digest


def test_all_that_is_ours_and_old_goes_and_nothing_else(store: Store) -> None:
    mine = ["files/md5/ab/cdef", "ray_s3x/a", "x/ray_s3/a"]
    for key in mine:
        store.put(key, b"mine")
    digest = manifest(store, "code", "a", "b")
    store.put("ray_s3/probe", b"p")
    assert find(store, time.time() - 3600).goes == ()
    found = find(store, time.time() + 3600)
    assert found.total == {"code": (3, 2 + len(dump((n, md5(n)) for n in "ab")[1])), "probe": (1, 1)}
    assert {area: sorted(names) for area, names in digests_of(found.goes).items()} == {
        "code": sorted([digest, md5("a"), md5("b")])
    }
    remove(found.goes, store)
    assert keys(store) == sorted(mine)


@pytest.fixture
def aged(tmp_path: Path) -> tuple[Store, Path]:
    root = tmp_path / "aged"
    return open_store(locate(root.as_uri())), root


def test_what_something_young_names_stays(aged: tuple[Store, Path]) -> None:
    store, root = aged
    lone, shared = (
        manifest(store, "code", "only of the old", "of both"),
        manifest(store, "code", "of both", "new"),
    )
    directory = manifest(store, "dirs", "log")
    receipt = {"directory": directory, "job": "f" * 64}
    store.put("ray_s3/jobs/" + "f" * 64 + ".json", json.dumps(receipt).encode())
    store.put("ray_s3/jobs/" + "e" * 64 + ".json", json.dumps({"directory": lone}).encode())
    for path in root.rglob("*"):
        os.utime(path, (1000, 1000))
    young = [root / "ray_s3/code" / object_key(shared), root / "ray_s3/jobs" / ("f" * 64 + ".json")]
    for path in young:
        os.utime(path)
    goes = sorted(one.key for one in find(store, time.time() - 3600).goes)
    assert goes == sorted(
        [
            f"ray_s3/code/{object_key(lone)}",
            f"ray_s3/code/{object_key(md5('only of the old'))}",
            "ray_s3/jobs/" + "e" * 64 + ".json",
        ]
    )


def test_what_names_others_goes_first(aged: tuple[Store, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = aged
    manifest(store, "code", *map(str, range(20)))
    deleted: list[str] = []
    monkeypatch.setattr(store, "delete", deleted.append)
    remove(find(store, time.time() + 3600).goes, store)
    assert len(deleted) == 21 and deleted[0].endswith(".dir")
