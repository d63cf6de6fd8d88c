"""Names that some file systems take for one: found, and refused just where the file system does so."""

from __future__ import annotations

import os
import re
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from folding_disk import FoldingDisk
from trees import QUIET, read, sent, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.placing.clashes import clashes, refuse_where_same
from ray_decorator.core.errors import InputError
from ray_decorator.store.identity import locate
from ray_decorator.store.store import open_store
from ray_decorator.store.transfer import pull

NFC, NFD = (unicodedata.normalize(form, "ü") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("paths", "pairs"),
    [
        (["a", "b", "ab", "a/b"], []),
        (["a", "A"], [("a", "A")]),
        (["x/README", "x/readme", "readme"], [("README", "readme")]),
        (["data/x", "Data/y"], [("data", "Data")]),
        (["Model", "model/weights"], [("Model", "model")]),
        (["d/x", "D/x"], [("d", "D")]),
        ([NFC, NFD], [(NFC, NFD)]),
        (["straße", "STRASSE", "strasse"], [("straße", "STRASSE"), ("straße", "strasse")]),
        ([os.fsdecode(b"\xff"), os.fsdecode(b"\xfe")], []),
        (["a", "a"], []),
    ],
)
def test_pairs_in_one_directory(paths: list[str], pairs: list[tuple[str, str]]) -> None:
    assert list(clashes(paths)) == pairs


def test_nothing_is_refused_where_they_differ_and_nothing_left(tmp_path: Path) -> None:
    refuse_where_same(str(tmp_path), [("a", "A"), (NFC, NFD)])
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_takes_them_for_one(tmp_path: Path, folding_disk: FoldingDisk) -> None:
    """Nothing that is there is touched, and a tree without such names comes."""
    hashes, store = HashCache.in_memory(), open_store(locate((tmp_path / "store").as_uri()))
    both = sent(tree(tmp_path / "both", {"Model": b"1", "model": b"2", NFC: b"3", NFD: b"4"}), store, hashes)
    one = sent(tree(tmp_path / "one", {"Model": b"1", NFC: b"3"}), store, hashes)
    pull(both.content, tmp_path / "home", store, hashes, QUIET)
    assert read(tmp_path / "home") == read(tmp_path / "both")
    with folding_disk(tmp_path / "disk") as (at, _):
        tree(at / "home", {"model": b"mine"})
        said = refused(
            lambda: pull(both.content, at / "home", store, hashes, QUIET), r"takes .* and .*, .* and "
        )
        assert re.search(r"takes 'Model' and 'model', .* for the same name, and one file", said)
        assert settled(at / "home", {"model": b"mine"}) == {"model": b"mine"}
        pull(one.content, at / "new", store, hashes, QUIET)
        there = read(tmp_path / "one")
        assert settled(at / "new", there) == there


def settled(directory: Path, expected: dict[str, bytes]) -> dict[str, bytes]:
    """What the directory holds, once it is what is expected: rclone shows a file when it has written it behind."""
    deadline = time.monotonic() + 20
    while (held := read(directory)) != expected and time.monotonic() < deadline:
        time.sleep(0.1)
    return held


def refused(pulls: Callable[[], object], pattern: str) -> str:
    """Why it is refused, once rclone knows both names: at times its listing is late."""
    deadline = time.monotonic() + 20
    while True:
        with pytest.raises(InputError) as told:
            pulls()
        if re.search(pattern, str(told.value)) or time.monotonic() > deadline:
            return str(told.value)
