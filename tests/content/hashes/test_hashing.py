"""Md5s of files, however many, large or hard to read."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from trees import QUIET, Tally, read, settle, tree

from ray_decorator.content.hashes.hash_cache import HashCache, Stamp
from ray_decorator.content.hashes.hashing import hash_files
from ray_decorator.core.errors import InputError

MIB = 1024 * 1024


def stamps(root: Path) -> dict[str, Stamp]:
    return {str(path): Stamp.of(path.stat()) for path in root.rglob("*") if path.is_file()}


def test_small_and_large_ones(tmp_path: Path, hashes: HashCache) -> None:
    files = {f"tiny/{number}": b"%d" % number for number in range(500)}
    files |= {f"large/{size}": os.urandom(size) for size in (0, MIB - 1, MIB, MIB + 1, 5 * MIB + 3)}
    for names in ("tiny", "large", ""):
        root = tree(tmp_path / (names or "all"), {n: d for n, d in files.items() if n.startswith(names)})
        tally = Tally()
        found = hash_files(stamps(root), str(root), time.time_ns(), hashes, tally)
        wanted = {str(root / name): hashlib.md5(data).hexdigest() for name, data in read(root).items()}
        assert found.by_path == wanted
        assert tally.done == tally.expected


@pytest.mark.parametrize("size", [0, 10, 3 * MIB])
@pytest.mark.parametrize("reset", [False, True])
def test_a_file_that_changed_since_its_stamp_was_taken(
    tmp_path: Path, hashes: HashCache, size: int, reset: bool
) -> None:
    root = tree(tmp_path / "t", {"moving": b"1" * size, **{str(number): b"x" for number in range(100)}})
    before, taken = stamps(root), time.time_ns()
    time.sleep(0.05)
    status = (root / "moving").stat()
    (root / "moving").write_bytes(b"2" * (size or 1))
    if reset:
        os.utime(root / "moving", ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InputError) as info:
        hash_files(before, str(root), taken, hashes, QUIET)
    assert info.value.problems == (
        f"{root}/moving: changed while it was being read; run again when nothing writes to it",
    )


def test_what_cannot_be_read_is_named_or_noted(tmp_path: Path, hashes: HashCache) -> None:
    root = tree(tmp_path / "t", {"a": b"a"})
    seen = stamps(root) | {str(root / "gone"): Stamp(1, 2, 3, 4, 5)}
    with pytest.raises(InputError, match=r"t/gone: cannot be read \(No such file or directory\)"):
        hash_files(seen, str(root), time.time_ns(), hashes, QUIET)
    bad: dict[str, str] = {}
    found = hash_files(seen, str(root), time.time_ns(), hashes, QUIET, unreadable=bad)
    assert list(found.by_path) == [str(root / "a")]
    assert bad == {str(root / "gone"): "cannot be read (No such file or directory)"}


def test_large_files_that_have_not_changed_for_long_are_known_by_their_stamp(
    tmp_path: Path, hashes: HashCache
) -> None:
    root = tree(tmp_path / "t", {"large": b"x" * 2 * MIB, "small": b"x"})
    now, later = time.time_ns(), time.time_ns() + 61 * 10**9
    assert hash_files(stamps(root), str(root), now, None, QUIET).settled == set()
    assert hash_files(stamps(root), str(root), later, hashes, QUIET).settled == {str(root / "large")}
    assert hash_files(stamps(root), str(root), later, hashes, QUIET).settled == set(), "it is not hashed now"


def test_moved_files_links_and_other_names_are_not_read_again(tmp_path: Path, hashes: HashCache) -> None:
    root = tree(tmp_path / "t", {"a": b"1", "b": b"2", "sub/c": b"3"})
    settle()
    hash_files(stamps(root), str(root), time.time_ns(), hashes, QUIET, prune=True)
    root.rename(tmp_path / "moved")
    (tmp_path / "links").mkdir()
    for name in ("a", "b", "sub/c"):
        (tmp_path / "links" / name.replace("/", "-")).symlink_to(tmp_path / "moved" / name)
    for _ in range(2):
        for name in ("moved", "links"):
            seen, tally = stamps(tmp_path / name), Tally()
            md5s = hash_files(seen, str(tmp_path / name), time.time_ns(), hashes, tally, prune=True).by_path
            assert set(md5s.values()) == {hashlib.md5(data).hexdigest() for data in (b"1", b"2", b"3")}
            assert tally.expected == {}


def test_what_is_known_otherwise_is_asked_for_what_the_cache_has_not(
    tmp_path: Path, hashes: HashCache
) -> None:
    root = tree(tmp_path / "t", {"a": b"1", "b": b"2", "c": b"3"})
    settle()
    only_a = {path: stamp for path, stamp in stamps(root).items() if path.endswith("/a")}
    hash_files(only_a, str(root), time.time_ns(), hashes, QUIET)
    asked: list[set[str]] = []

    def known(files: Mapping[str, Stamp]) -> dict[str, str]:
        asked.append(set(files))
        return {str(root / "b"): "sure"}

    tally = Tally()
    found = hash_files(stamps(root), str(root), time.time_ns(), hashes, tally, known=known)
    assert asked == [{str(root / "b"), str(root / "c")}]
    assert found.by_path[str(root / "b")] == "sure"
    assert tally.done == {"hashing": [1, 1]}
