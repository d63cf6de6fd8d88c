"""The hash cache: right, quick, shared, and never in the way."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ray_decorator.content.hashes.hash_cache import HashCache, Hashed, Stamp, default_path
from ray_decorator.core.errors import InputError
from ray_decorator.core.progress import NoProgress
from ray_decorator.core.values.contents import Content
from ray_decorator.store.transfer import snapshot

OLD = 10**18
TREE = Content("0" * 32 + ".dir", 5, 1)


def hashed(path: str, md5: str = "m", *, racy: bool = False) -> Hashed:
    return Hashed(path, Stamp(9, 1, OLD, OLD, 5), md5, racy)


def recorded(cache: HashCache, root: str) -> list[str]:
    return cache.unchanged(root, {})[1]


def test_what_is_recorded_below_a_directory(hashes: HashCache) -> None:
    names = ["/a", "/a/b", "/a/b/ü", os.fsdecode(b"/a/\xff"), "/a.b", "/a0", "/ab", "/z"]
    hashes.record(hashed(name, md5=f"{number}") for number, name in enumerate(names))
    stamp = Stamp(9, 1, OLD, OLD, 5)
    below = ["/a", "/a/b", "/a/b/ü", os.fsdecode(b"/a/\xff")]
    assert sorted(recorded(hashes, "/a")) == sorted(below)
    assert len(recorded(hashes, "/")) == len(names)
    assert hashes.unchanged("/a", dict.fromkeys(names, stamp)) == (
        {name: str(number) for number, name in enumerate(below)},
        [],
    )


@pytest.mark.parametrize("field", Stamp._fields)
def test_a_file_is_unchanged_only_where_all_of_its_stamp_is(hashes: HashCache, field: str) -> None:
    hashes.record([hashed("/a")])
    stamp = Stamp(9, 1, OLD, OLD, 5)
    changed = stamp._replace(**{field: 7})
    assert hashes.unchanged("/", {"/a": stamp}) == ({"/a": "m"}, [])
    # a device may have another number after each mount, so the path tells instead
    assert hashes.unchanged("/", {"/a": changed}) == ({"/a": "m"} if field == "device" else {}, [])
    assert hashes.anywhere({"/moved": stamp, "/changed": changed}) == {"/moved": "m"}


@pytest.mark.parametrize("lasting", [True, False])
def test_under_another_path_it_is_known_where_inodes_are_lasting(
    hashes: HashCache, monkeypatch: pytest.MonkeyPatch, lasting: bool
) -> None:
    monkeypatch.setattr("ray_decorator.content.hashes.hash_cache.are_lasting", lambda device, path: lasting)
    hashes.record([hashed("/a")])
    hashes.record_tree("/t", "print", TREE)
    assert hashes.anywhere({"/b": Stamp(9, 1, OLD, OLD, 5)}) == ({"/b": "m"} if lasting else {})
    assert hashes.tree("/t", "print", {9: "/t/a"}) == TREE
    assert hashes.tree("/elsewhere", "print", {9: "/t/a"}) == (TREE if lasting else None)
    assert hashes.tree("/t", "another", {9: "/t/a"}) is None


def test_numbers_that_sqlite_does_not_take(
    hashes: HashCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    far = Stamp(9, 1, 2**63, OLD, 5)
    hashes.record([Hashed("/far", far, "m")])
    assert hashes.unchanged("/", {"/far": far}) == ({}, [])
    assert "going on without the hash cache" in caplog.text
    status = list(os.stat(tmp_path))
    status[1] = 2**64 - 1  # mergerfs and cifs have such inodes
    assert Stamp.of(os.stat_result(status)).inode == 2**63 - 1


def test_what_is_too_fresh_is_not_recorded(hashes: HashCache) -> None:
    stamp = Stamp(9, 1, OLD, OLD, 5)
    assert stamp.is_fresh(OLD + 99_000_000)
    assert not stamp.is_fresh(OLD + 101_000_000)
    hashes.record([hashed("/fresh", racy=True), hashed("/settled")])
    assert recorded(hashes, "/") == ["/settled"]


def test_what_is_gone_is_dropped(hashes: HashCache, tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text(name)
    time.sleep(0.12)
    snapshot(folder, hashes, NoProgress())
    assert len(recorded(hashes, str(folder))) == 2
    (folder / "a").unlink()
    snapshot(folder, hashes, NoProgress())
    assert recorded(hashes, str(folder)) == [str(folder / "b")]


def test_what_stores_hold(hashes: HashCache) -> None:
    hashes.remember("s3://a", ["1", "2"])
    hashes.remember("s3://b", ["3"])
    assert hashes.known("s3://a", ["1", "2", "3"]) == {"1", "2"}
    hashes.forget("s3://a", ["1", "3"])
    assert hashes.known("s3://a", ["1", "2", "3"]) == {"2"}
    assert hashes.known("s3://b", ["3"]) == {"3"}


def test_it_lasts_and_is_shared(tmp_path: Path) -> None:
    one, other = HashCache(tmp_path / "db"), HashCache(tmp_path / "db")
    one.remember("s3://a", ["1"])
    assert other.known("s3://a", ["1"]) == {"1"}
    one.record([hashed("/a")])
    assert recorded(HashCache(tmp_path / "db"), "/") == ["/a"]


def test_many_processes_at_once_from_the_first_moment(tmp_path: Path) -> None:
    program = (
        "import sys, logging; from pathlib import Path\n"
        "from ray_decorator.content.hashes import hash_cache\n"
        "from ray_decorator.content.hashes.hash_cache import HashCache\n"
        "hash_cache._BUSY_SECONDS = 120.0  # a disk may stall; that too long a wait is told is another test's\n"
        "logging.basicConfig()\n"
        "cache = HashCache(Path(sys.argv[1]))\n"
        "for n in range(50): cache.remember('s3://a', [f'{sys.argv[2]}-{n}'])\n"
    )
    crew = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "db"), str(n)], stderr=subprocess.PIPE
        )
        for n in range(8)
    ]
    assert [process.communicate()[1] for process in crew] == [b""] * 8
    wanted = [f"{n}-{k}" for n in range(8) for k in range(50)]
    assert HashCache(tmp_path / "db").known("s3://a", wanted) == set(wanted)


def test_a_corrupt_file_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "db").write_bytes(os.urandom(100_000))
    cache = HashCache(tmp_path / "db")
    assert f"going on without the hash cache {tmp_path}/db" in caplog.text
    assert "Delete that file" in caplog.text
    works_but_for_memory(cache, tmp_path)


def test_a_file_whose_pages_are_corrupt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = HashCache(tmp_path / "db")
    cache.record([hashed(f"/{n}") for n in range(5000)])
    HashCache(tmp_path / "db")._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(tmp_path / "db", "r+b") as file:
        file.seek(100)  # the header is fine
        file.write(os.urandom(os.path.getsize(tmp_path / "db") - 100))
    cache = HashCache(tmp_path / "db")
    recorded(cache, "/")
    works_but_for_memory(cache, tmp_path)
    assert caplog.text.count("going on without") <= 1


def test_a_locked_file_costs_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray_decorator.content.hashes.hash_cache._BUSY_SECONDS", 0.2)
    cache = HashCache(tmp_path / "db")
    other = sqlite3.connect(tmp_path / "db")
    other.execute("BEGIN EXCLUSIVE")
    cache.remember("s3://a", ["1"])
    assert "database is locked" in caplog.text
    other.rollback()
    cache.remember("s3://a", ["1"])
    assert cache.known("s3://a", ["1"]) == {"1"}


def test_a_directory_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        works_but_for_memory(HashCache(tmp_path / "file" / "db"), tmp_path)
    assert "going on without" in caplog.text


@pytest.mark.parametrize("how", ["a link", "writable by others"])
def test_a_directory_that_others_could_write_to_is_refused(tmp_path: Path, how: str) -> None:
    home = tmp_path / "ray_s3"
    if how == "a link":
        (tmp_path / "elsewhere").mkdir()
        home.symlink_to("elsewhere")
    else:
        home.mkdir()
        home.chmod(0o777)
    with pytest.raises(InputError) as info:
        HashCache(home / "hashes.sqlite")
    assert str(home) in str(info.value)
    assert not (home / "hashes.sqlite").exists()


def test_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_path() == Path("/xdg/ray_s3/hashes.sqlite")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_path() == Path("/home/me/.cache/ray_s3/hashes.sqlite")


def works_but_for_memory(cache: HashCache, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("data")
    digest = hashlib.md5(b"data").hexdigest()
    assert snapshot(tmp_path / "data", cache, NoProgress()).content.digest == digest
    cache.remember("s3://a", ["1"])
    assert cache.known("s3://a", ["1"]) <= {"1"}
    cache.forget("s3://a", ["1"])


def test_where_outs_were_written_is_known_while_something_is_there(tmp_path: Path) -> None:
    a, b = tmp_path / "a\udcff.pkl", tmp_path / "b"
    path = tmp_path / "cache/hashes.sqlite"
    HashCache(path).record_outs([str(a), str(b)])
    b.mkdir()
    assert HashCache(path).outs() == {str(b)}
    a.touch()
    assert HashCache(path).outs() == {str(a), str(b)}


def test_an_out_that_is_not_there_for_a_month_is_forgotten(
    tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes.record_outs([str(tmp_path / "late")])
    now = time.time()
    for days, kept in ((29, True), (31, False)):
        monkeypatch.setattr(time, "time", lambda days=days: now + days * 86400)
        assert hashes.outs() == frozenset()
        (tmp_path / "late").touch()
        assert (hashes.outs() == {str(tmp_path / "late")}) is kept
        (tmp_path / "late").unlink()


def test_what_can_be_found_out_again_can_be_forgotten(tmp_path: Path) -> None:
    first, second = HashCache(tmp_path / "c" / "h"), HashCache(tmp_path / "c" / "h")
    first.remember("s3://b", ["a", "b"])
    first.record_outs([str(tmp_path)])
    assert second.count() == 2
    second.clear()
    assert second.count() == first.count() == 0 and first.outs() == {str(tmp_path)}
    first.remember("s3://b", ["c"])
    assert second.known("s3://b", ["c"]) == {"c"}


def test_a_file_that_was_forgotten_is_not_known_by_its_inode_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray_decorator.content.hashes.hash_cache.are_lasting", lambda device, path: True)
    cache, file = HashCache(tmp_path / "c" / "h"), hashed("/a")
    cache.record([file])
    assert cache.anywhere({"/b": file.stamp}) == {"/b": "m"}
    cache.clear()
    assert cache.anywhere({"/b": file.stamp}) == {}
