"""Contents of paths that are not on this disk: pushed from where their files are, or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from trees import QUIET, read, tree

from ray_decorator.content.by_digest import held, made_of
from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.core.errors import InputError
from ray_decorator.core.values.contents import Content
from ray_decorator.store.store import Store
from ray_decorator.store.transfer import pull, push, snapshot


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def test_files_that_lie_elsewhere_make_the_directory(tmp_path: Path, store: Store, hashes: HashCache) -> None:
    tree(tmp_path / "objects", {"1": b"one", "2": b"two"})
    one, two = (
        (str(tmp_path / "objects" / name), md5(data)) for name, data in (("1", b"one"), ("2", b"two"))
    )
    taken = made_of(str(tmp_path / "data"), [("a", *one), ("sub/b", *two), ("sub/c", *one)])
    same = tree(tmp_path / "same", {"a": b"one", "sub/b": b"two", "sub/c": b"one"})
    assert taken.content == snapshot(same, hashes, QUIET).content
    push(taken, store, hashes, QUIET)
    pull(taken.content, tmp_path / "back", store, None, QUIET)
    assert read(tmp_path / "back") == {"a": b"one", "sub/b": b"two", "sub/c": b"one"}
    single = made_of(str(tmp_path / "x"), [("", *two)])
    assert single.content == Content(md5(b"two"), 3, 1)


def test_an_object_with_other_bytes_is_not_sent(tmp_path: Path, store: Store, hashes: HashCache) -> None:
    (tmp_path / "object").write_bytes(b"spoilt")
    taken = made_of("x", [("", str(tmp_path / "object"), md5(b"right"))])
    with pytest.raises(InputError, match="object: changed"):
        push(taken, store, hashes, QUIET)
    with pytest.raises(FileNotFoundError):
        made_of("x", [("", str(tmp_path / "gone"), md5(b""))])


def test_what_is_held_is_asked_for_nothing_until_it_is_gone(store: Store, hashes: HashCache) -> None:
    digest = md5(b"far away")
    taken = held("/data", Content(digest, 8, 1), "it is gone: dvc pull")
    hashes.remember(store.place, [digest])
    assert push(taken, store, hashes, QUIET) == 0
    with pytest.raises(InputError, match="it is gone: dvc pull"):
        push(taken, store, hashes, QUIET, trust=False)
