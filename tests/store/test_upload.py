"""Bytes that are not what an object's name says never become that object, whatever happens meanwhile."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import servers
from store_fixtures import FaultyProxy, s3_store
from trees import QUIET, numbered, read, sent, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.looking.snapshot import Snapshot, snapshot
from ray_decorator.content.manifest import object_key
from ray_decorator.core.errors import InputError
from ray_decorator.core.progress import Phase
from ray_decorator.store.store import Store
from ray_decorator.store.transfer import pull, push
from ray_decorator.store.transport.sending import Chunks
from ray_decorator.store.upload import lacking

MIB = 1024 * 1024
SIZE = 11 * MIB  # three parts

pytestmark = pytest.mark.usefixtures("small_parts")


class Meanwhile:
    """A Progress that does something to the file once its first part is on its way."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work, self._done = work, False

    def expect(self, phase: Phase, items: int, size: int = 0) -> None:
        return None

    def advance(self, phase: Phase, items: int, size: int = 0) -> None:
        if phase == "uploading" and not self._done:
            self._done = True
            self._work()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(MIB) * (SIZE // MIB))
    return path


def settled(path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    """A snapshot of a file as if it had not changed for a minute."""
    monkeypatch.setattr("ray_decorator.content.hashes.hash_cache._SETTLED_NS", 20_000_000)
    time.sleep(0.15)
    return snapshot(path, hashes, QUIET)


def rewrite(path: Path, *, at: int, reset: bool = False) -> None:
    before = path.stat()
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"others")
    if reset:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("at", [0, SIZE - 6], ids=["in what is sent", "in what is not"])
def test_a_file_that_is_rewritten_while_it_goes_up(
    store: Store, hashes: HashCache, large: Path, monkeypatch: pytest.MonkeyPatch, at: int, reset: bool
) -> None:
    taken = settled(large, hashes, monkeypatch)
    assert taken.entries[0].stamp is not None, "so it is not hashed again"
    with pytest.raises(InputError, match="large: changed while it was being read"):
        push(taken, store, hashes, Meanwhile(lambda: rewrite(large, at=at, reset=reset)))
    assert store.head(object_key(taken.content.digest)) is None
    assert hashes.known(store.place, [taken.content.digest]) == set()


@pytest.mark.parametrize("reset", [False, True])
def test_a_file_that_is_rewritten_before(
    store: Store, hashes: HashCache, large: Path, monkeypatch: pytest.MonkeyPatch, reset: bool
) -> None:
    taken = settled(large, hashes, monkeypatch)
    rewrite(large, at=0, reset=reset)
    with pytest.raises(InputError, match="large: changed while it was being read"):
        push(taken, store, hashes, QUIET)
    assert store.head(object_key(taken.content.digest)) is None


def test_a_file_that_was_only_touched_goes_up(
    store: Store, hashes: HashCache, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = settled(large, hashes, monkeypatch)
    large.touch()
    assert push(taken, store, hashes, QUIET) == SIZE


def test_a_file_that_changed_lately_is_hashed_again(store: Store, hashes: HashCache, large: Path) -> None:
    """A program that writes through a memory map may change bytes, and no time, for half a minute."""
    taken = snapshot(large, hashes, QUIET)
    assert taken.entries[0].stamp is None
    with pytest.raises(InputError, match="large: changed while it was being read"):
        push(taken, store, hashes, Meanwhile(lambda: rewrite(large, at=SIZE - 6)))
    assert store.head(object_key(taken.content.digest)) is None
    assert push(snapshot(large, hashes, QUIET), store, hashes, QUIET) == SIZE


def test_one_whose_md5_was_remembered_is_hashed_as_it_goes(
    hashes: HashCache, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settled(large, hashes, monkeypatch).entries[0].stamp is not None
    assert snapshot(large, hashes, QUIET).entries[0].stamp is None


@pytest.mark.parametrize("kind", ["rclone", "moto"])
@pytest.mark.parametrize("fault", ["500", "lost"])
@pytest.mark.parametrize("unlucky", ["PUT", "GET", "HEAD", "LIST", "POST", "last POST"])
def test_a_server_that_fails_at_one_request(
    faulty_proxy: FaultyProxy,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    hashes: HashCache,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    fault: servers.Fault,
    unlucky: str,
) -> None:
    """Where the answer to the last request of a multipart upload is lost, its repetition finds no upload."""
    files = {**numbered(20), "large": os.urandom(MIB) * 6}
    left = [unlucky]

    def befalls(verb: str, path: str) -> servers.Fault | None:
        if verb == "POST" and "uploadId=" in path:
            verb = "last POST"
        if left != [verb]:
            return None
        left.clear()
        return fault

    with faulty_proxy(request.getfixturevalue(kind), fault=befalls) as (server, _):
        store = s3_store(server, monkeypatch)
        content = sent(tree(tmp_path / "t", files), store, hashes).content
        pull(content, tmp_path / "home", store, None, QUIET)
    assert left == []
    assert read(tmp_path / "home") == files


def test_as_many_parts_are_under_way_as_whoever_takes_them_has_cores_for(
    store: Store,
    hashes: HashCache,
    large: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_parts, asked = store.put_parts, []

    def put(key: str, chunks: Chunks, size: int, part: int, window: int) -> None:
        asked.append(window)
        put_parts(key, chunks, size, part, window)

    monkeypatch.setattr(store, "put_parts", put)
    content = sent(large, store, hashes).content
    pull(content, large.parent / "home", store, None, QUIET)
    assert asked == [min(8, max(2, os.cpu_count() or 1))], "all of these are on this machine"
    assert (large.parent / "home").read_bytes() == large.read_bytes()


def test_all_files_that_changed_are_named(store: Store, hashes: HashCache, tmp_path: Path) -> None:
    source = tree(tmp_path / "t", {name: name.encode() for name in "abc"})
    taken = snapshot(source, hashes, QUIET)
    assert lacking(taken.entries, store).unsure == list(taken.entries), "a few are not worth a LIST"
    for name in "ac":
        (source / name).write_bytes(b"x")
    with pytest.raises(InputError) as info:
        push(taken, store, hashes, QUIET)
    assert [problem.partition(":")[0] for problem in info.value.problems] == [f"{source}/a", f"{source}/c"]
    assert store.head(object_key(hashlib.md5(b"b").hexdigest())) == 1
