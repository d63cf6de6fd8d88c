"""A file appears whole, with the bytes that its object's name promises, or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import servers
from store_fixtures import s3_store
from trees import QUIET, killed_process_leaves, read, sent, tree

from ray_decorator.content.hashes.hash_cache import HashCache, Stamp
from ray_decorator.content.looking.snapshot import snapshot
from ray_decorator.content.manifest import object_key
from ray_decorator.core.errors import CorruptObjectError, MissingObjectError
from ray_decorator.core.values.contents import Content
from ray_decorator.store import download as downloads
from ray_decorator.store.download import Wanted, download, rows_of
from ray_decorator.store.store import Store
from ray_decorator.store.transfer import pull

MIB = 1024 * 1024

pytestmark = pytest.mark.usefixtures("small_parts")


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("size", [100, MIB, 3 * MIB])
def test_files_are_made_with_their_modes(store: Store, tmp_path: Path, size: int, unseen: bool) -> None:
    data = os.urandom(MIB) * (size // MIB) or os.urandom(size)
    key = object_key(md5(data))
    store.put(key, data)
    wanted = [Wanted(md5(data), str(tmp_path / name), mode) for name, mode in (("a", 0o444), ("b", 0o755))]
    done = download(wanted, store, QUIET, unseen=unseen)
    assert read(tmp_path)["a"] == read(tmp_path)["b"] == data
    for name, mode in (("a", 0o444), ("b", 0o755)):
        assert (tmp_path / name).stat().st_mode & 0o777 == mode
    assert {file.path: (file.stamp, file.md5) for file in done} == {
        want.path: (Stamp.of(os.stat(want.path)), want.md5) for want in wanted
    }


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("size", [100, MIB, 3 * MIB])
def test_of_a_corrupt_object_nothing_remains(store: Store, tmp_path: Path, size: int, unseen: bool) -> None:
    home = tree(tmp_path / "home", {})
    data = b"x" * size
    store.put(object_key(md5(b"good")), data)
    with pytest.raises(CorruptObjectError, match=f"its bytes hash to {md5(data)}"):
        download([Wanted(md5(b"good"), str(home / "f"), 0o666)], store, QUIET, unseen=unseen)
    assert os.listdir(home) == []


def test_all_that_is_missing_is_named_and_the_rest_comes(store: Store, tmp_path: Path) -> None:
    home = tree(tmp_path / "home", {})
    store.put(object_key(md5(b"there")), b"there")
    digests = [md5(b"there"), md5(b"gone"), md5(b"gone too")]
    with pytest.raises(MissingObjectError) as info:
        download([Wanted(digest, str(home / digest), 0o666) for digest in digests], store, QUIET)
    assert sorted(info.value.digests) == sorted(digests[1:])
    assert read(home) == {digests[0]: b"there"}


@pytest.fixture
def ranged_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in ranges what is larger than 4 MiB."""
    monkeypatch.setattr("ray_decorator.store.download._RANGED", 4 * MIB)


@pytest.mark.usefixtures("ranged_soon")
@pytest.mark.parametrize("how", ["gone", "shorter"])
@pytest.mark.parametrize("size", [1000, MIB, 3 * MIB, 5 * MIB])
def test_one_that_is_lost_while_it_is_read_is_noted_and_the_rest_comes(
    size: int, how: str, moto: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its second request: a range, or what is sent again since the first answer was cut."""
    home, data = tree(tmp_path / "home", {}), os.urandom(size)
    key, asked = object_key(md5(data)), list[str]()

    def lost(verb: str, path: str) -> servers.Fault | None:
        if verb != "GET" or key not in path:
            return None
        asked.append(path)
        if len(asked) == 2:
            direct.put(key, b"x") if how == "shorter" else direct.delete(key)
        return "cut" if len(asked) == 1 and size <= 4 * MIB else None

    direct = s3_store(moto, monkeypatch)
    direct.put(key, data)
    direct.put(object_key(md5(b"there")), b"there")
    with servers.counting(moto, fault=lost) as (proxy, _):
        store = s3_store(proxy, monkeypatch, direct.url)
        with pytest.raises(CorruptObjectError if how == "shorter" else MissingObjectError) as info:
            download([Wanted(md5(d), str(home / md5(d)), 0o666) for d in (data, b"there")], store, QUIET)
    assert len(asked) > 1 and isinstance(info.value, CorruptObjectError | MissingObjectError)
    assert info.value.digests == (md5(data),) and read(home) == {md5(b"there"): b"there"}


@pytest.mark.usefixtures("ranged_soon")
@pytest.mark.parametrize("fault", ["cut", "500", "503", "reset", "lost"])
def test_each_range_that_fails_once_is_asked_for_again(
    fault: servers.Fault, moto: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, asked = os.urandom(6 * MIB), list[tuple[str, str]]()
    key = object_key(md5(data))

    def once(verb: str, path: str) -> servers.Fault | None:
        asked.append((verb, path))
        return fault if verb == "GET" and 1 < len(asked) < 6 else None

    direct = s3_store(moto, monkeypatch)
    direct.put(key, data)
    with servers.counting(moto, fault=once) as (proxy, _):
        store = s3_store(proxy, monkeypatch, direct.url)
        download([Wanted(md5(data), str(tmp_path / "f"), 0o666)], store, QUIET)
    assert (tmp_path / "f").read_bytes() == data
    assert store.ranges and len(asked) > 1 + 6


class TestVerified:
    @pytest.mark.usefixtures("ranged_soon")
    @pytest.mark.parametrize("size", [1000, 3 * MIB, 6 * MIB])
    def test_a_corrupt_object_is_named_and_nothing_is_in_place(
        self, store: Store, tmp_path: Path, hashes: HashCache, size: int
    ) -> None:
        good, bad = b"1" * size, b"1" * (size - 1) + b"2"
        source = tree(tmp_path / "t", {"f": good})
        taken = sent(source, store, hashes)
        key = object_key(md5(good))
        store.put_parts(
            key, lambda: [bad[i : i + 5 * MIB] for i in range(0, size, 5 * MIB)], size, 5 * MIB, 4
        )
        for home in (tmp_path / "new", tree(tmp_path / "standing", {"f": b"old"})):
            before = read(home)
            with pytest.raises(CorruptObjectError) as info:
                pull(taken.content, home, store, hashes, QUIET)
            assert f"the object {key} of {store.url} is corrupt: its bytes hash to {md5(bad)}" in str(
                info.value
            )
            assert read(home) == before

    def test_a_manifest_that_leads_astray(self, store: Store, tmp_path: Path, hashes: HashCache) -> None:
        data = b'[{"md5": "%s", "relpath": "../astray"}]' % md5(b"evil").encode()
        store.put(object_key(md5(b"evil")), b"evil")
        store.put(object_key(md5(data) + ".dir"), data)
        with pytest.raises(CorruptObjectError, match=r"'\.\./astray' is not a path below the directory"):
            pull(Content(md5(data) + ".dir", 4, 1), tmp_path / "home", store, hashes, QUIET)
        assert not (tmp_path / "astray").exists()
        assert not (tmp_path / "home").exists()

    def test_a_killed_pull_leaves_only_what_the_next_one_clears(
        self, store: Store, tmp_path: Path, hashes: HashCache
    ) -> None:
        taken = sent(tree(tmp_path / "t", {"f": b"x" * 1000}), store, hashes)
        home = tree(tmp_path / "home", {})
        left = killed_process_leaves(home)
        assert snapshot(home, hashes, QUIET).content.files == 0
        pull(taken.content, home, store, hashes, QUIET)
        assert os.listdir(home) == ["f"]
        assert not left.exists()


def test_a_manifest_that_no_directory_has_is_not_read(
    store: Store, tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = sent(tree(tmp_path / "t", {"a": b"a"}), store, hashes).content
    assert len(rows_of(content, store)) == 1
    monkeypatch.setattr(downloads, "LARGEST_MANIFEST", 50)
    with pytest.raises(CorruptObjectError, match="has 61 B, more than 50 B: it is not read") as info:
        rows_of(content, store)
    assert info.value.digests == (content.digest,)
