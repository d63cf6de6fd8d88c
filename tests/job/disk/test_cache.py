"""A node's cache: fetched once, shared with each job, spoilt by none."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import servers
from store_fixtures import s3_store
from trees import QUIET, killed_process_leaves, numbered, read, sent, tree
from whole_trees import TREES, build, described

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.manifest import object_key
from ray_decorator.core.errors import CorruptObjectError, InputError, MissingObjectError
from ray_decorator.core.values.contents import Content
from ray_decorator.job.disk.cache import Checkout, NodeCache
from ray_decorator.store.store import Store
from ray_decorator.store.transfer import push_all, snapshot

FILES = {"a": b"alpha", "sub/b": b"beta", "run": b"#!/bin/sh", "again/a": b"alpha", "empty": b""}


@pytest.fixture
def content(store: Store, tmp_path: Path, hashes: HashCache) -> Content:
    source = tree(tmp_path / "source", FILES)
    (source / "run").chmod(0o755)
    return sent(source, store, hashes).content


@pytest.fixture
def cache(tmp_path: Path) -> NodeCache:
    return NodeCache(tmp_path / "node" / "cache")


def filled(cache: NodeCache, content: Content) -> None:
    """Wait until the cache has its copies."""
    with cache._locked([content.digest]):
        pass


@pytest.mark.parametrize("writable", [False, True])
def test_jobs_find_the_files(
    content: Content, cache: NodeCache, store: Store, tmp_path: Path, writable: bool
) -> None:
    first = cache.checkout([Checkout(content, tmp_path / "job1" / "dep", writable)], store)
    second = cache.checkout([Checkout(content, tmp_path / "job2" / "dep", writable)], store)
    distinct = sum(map(len, set(FILES.values())))
    assert first == distinct + (store.head(object_key(content.digest)) or 0)
    assert second == 0
    for job in ("job1", "job2"):
        dep = tmp_path / job / "dep"
        assert read(dep) == FILES
        assert os.access(dep / "run", os.X_OK)
        assert not (dep / "a").stat().st_mode & 0o111
        assert bool((dep / "a").stat().st_mode & 0o200) == writable
        assert all(path.stat().st_nlink == 1 for path in dep.rglob("*") if path.is_file())
        assert dep.stat().st_mode & 0o700 == 0o700
        (dep / "sub" / "of the job's own").write_text("")


def test_a_file(store: Store, cache: NodeCache, tmp_path: Path, hashes: HashCache) -> None:
    (tmp_path / "f").write_bytes(b"data")
    content = sent(tmp_path / "f", store, hashes).content
    assert cache.checkout([Checkout(content, tmp_path / "job" / "dep.bin")], store) == 4
    assert (tmp_path / "job" / "dep.bin").read_bytes() == b"data"


def test_data_and_what_is_in_an_area_of_ours(
    store: Store, cache: NodeCache, tmp_path: Path, hashes: HashCache
) -> None:
    code = snapshot(tree(tmp_path / "code", {"train.py": b"x = 1"}), hashes, QUIET).within("code")
    data = snapshot(tree(tmp_path / "data", {"a": b"1"}), hashes, QUIET)
    push_all([code, data], store, hashes, QUIET)
    both = [Checkout(one.content, tmp_path / "job" / name) for one, name in ((code, "code"), (data, "data"))]
    cache.checkout(both, store)
    assert read(tmp_path / "job") == {"code/train.py": b"x = 1", "data/a": b"1"}


def test_an_empty_directory(store: Store, cache: NodeCache, tmp_path: Path, hashes: HashCache) -> None:
    content = sent(tree(tmp_path / "empty", {}), store, hashes).content
    cache.checkout([Checkout(content, tmp_path / "job")], store)
    assert list((tmp_path / "job").iterdir()) == []


def test_a_writable_checkout_merges(content: Content, cache: NodeCache, store: Store, tmp_path: Path) -> None:
    """A dep inside an out whose directory stands there already."""
    home = tree(tmp_path / "out", {"a": b"alpha", "sub/b": b"stale", "mine": b"mine"})
    before = (home / "a").stat()
    cache.checkout([Checkout(content, home, True)], store)
    assert read(home) == {**FILES, "mine": b"mine"}
    assert (home / "a").stat().st_ino == before.st_ino, "what is right is left alone"


def test_fifty_jobs_fetch_once(
    rclone: servers.Server, tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = numbered(20)
    with servers.counting(rclone) as (server, requests):
        store = s3_store(server, monkeypatch)
        content = sent(tree(tmp_path / "t", files), store, hashes).content
        requests.seen.clear()
        fetched: list[int] = []

        def job(number: int) -> None:
            cache = NodeCache(tmp_path / "cache")
            fetched.append(cache.checkout([Checkout(content, tmp_path / f"job{number}")], store))

        crew = [threading.Thread(target=job, args=(number,)) for number in range(50)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
    objects = [path for path in requests.paths("GET") if not path.endswith(".dir")]
    assert len(objects) == len(set(objects)) == 20
    assert len(fetched) == 50
    assert all(read(tmp_path / f"job{number}") == files for number in range(50))


class TestNoJobSpoilsIt:
    """Seen as root, whom no mode keeps from writing, and as anybody else, who may change a mode."""

    PROGRAM = """
import os, sys, pickle
from pathlib import Path
from ray_decorator.job.disk.cache import Checkout, NodeCache
from ray_decorator.store.store import open_store
if os.geteuid() == 0 and sys.argv[1] == "user":  # after the imports: root's Python may be root's alone
    os.setgid(65534)
    os.setuid(65534)
root = Path(sys.argv[2])
location, content = pickle.loads((root / "job.pickle").read_bytes())
cache, store = NodeCache(root / "cache"), open_store(location)
cache.checkout([Checkout(content, root / "job1")], store)
for job in ("job1", "job2", "job3", "job4"):
    file = root / job / "a"
    if job != "job1":
        cache.checkout([Checkout(content, root / job, job == "job3")], store)
    print(job, file.read_bytes(), (root / job / "again" / "a").read_bytes())
    try:
        file.write_bytes(b"spoil")
        print("written")
    except PermissionError:
        print("denied")
    times = file.stat()
    file.chmod(0o644)
    file.write_bytes(b"spoil")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
"""

    @pytest.mark.parametrize("who", ["root", "user"])
    def test_a_job_that_writes_into_its_dep(
        self, content: Content, store: Store, tmp_path: Path, who: str
    ) -> None:
        import pickle

        if os.geteuid() != 0 and who == "root":
            pytest.skip("not root")
        if os.geteuid() == 0 and who == "user":
            for path in (tmp_path, *tmp_path.parents):
                if not path.stat().st_mode & 0o001:
                    path.chmod(0o755)
        root = tmp_path / "node"
        root.mkdir()
        (root / "job.pickle").write_bytes(pickle.dumps((store._location, content)))
        root.chmod(0o777)
        done = subprocess.run(
            [sys.executable, "-c", self.PROGRAM, who, str(root)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        tried = (
            {"job3": "written"}
            if who == "user"
            else dict.fromkeys(["job1", "job2", "job3", "job4"], "written")
        )
        assert done.stdout.splitlines() == [
            line
            for job in ("job1", "job2", "job3", "job4")
            for line in (f"{job} b'alpha' b'alpha'", tried.get(job, "denied"))
        ]

    def test_a_job_that_writes_while_the_cache_gets_its_copies(
        self, content: Content, cache: NodeCache, store: Store, tmp_path: Path
    ) -> None:
        """The first copies are made while the job runs, of what it has not touched."""
        cache.checkout([Checkout(content, tmp_path / "job1", True)], store)
        for name in ("a", "again/a", "sub/b"):
            (tmp_path / "job1" / name).write_bytes(b"spoil")
        cache.checkout([Checkout(content, tmp_path / "job2")], store)
        assert read(tmp_path / "job2") == FILES

    def test_an_entry_cut_short(
        self, content: Content, cache: NodeCache, store: Store, tmp_path: Path
    ) -> None:
        cache.checkout([Checkout(content, tmp_path / "job1")], store)
        filled(cache, content)
        digest = hashlib.md5(b"alpha").hexdigest()
        entry = tmp_path / "node" / "cache" / "files" / digest[:2] / digest[2:]
        times = entry.stat()
        os.truncate(entry, 2)
        os.utime(entry, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert cache.checkout([Checkout(content, tmp_path / "job2")], store) == 5
        assert read(tmp_path / "job2") == FILES

    def test_a_spoilt_manifest(
        self, content: Content, cache: NodeCache, store: Store, tmp_path: Path
    ) -> None:
        cache.checkout([Checkout(content, tmp_path / "job1")], store)
        entry = tmp_path / "node" / "cache" / "files" / content.digest[:2] / content.digest[2:]
        entry.chmod(0o644)
        entry.write_bytes(b"[]")
        cache.checkout([Checkout(content, tmp_path / "job2")], store)
        assert read(tmp_path / "job2") == FILES


def test_missing_objects(content: Content, cache: NodeCache, store: Store, tmp_path: Path) -> None:
    lost = sorted(hashlib.md5(data).hexdigest() for data in (b"alpha", b"beta"))
    for digest in lost:
        store.delete(object_key(digest))
    with pytest.raises(MissingObjectError) as info:
        cache.checkout([Checkout(content, tmp_path / "job1")], store)
    assert sorted(info.value.digests) == lost
    store.delete(object_key(content.digest))
    with pytest.raises(MissingObjectError):
        NodeCache(tmp_path / "other").checkout([Checkout(content, tmp_path / "job2")], store)


def test_corrupt_objects_do_not_get_in(
    content: Content, cache: NodeCache, store: Store, tmp_path: Path
) -> None:
    digest = hashlib.md5(b"alpha").hexdigest()
    store.put(object_key(digest), b"wrong")
    with pytest.raises(CorruptObjectError, match=object_key(digest)):
        cache.checkout([Checkout(content, tmp_path / "job1")], store)
    store.put(object_key(digest), b"alpha")
    cache.checkout([Checkout(content, tmp_path / "job2")], store)
    assert read(tmp_path / "job2") == FILES


def test_a_killed_fetch_leaves_only_what_the_next_one_clears(
    content: Content, cache: NodeCache, store: Store, tmp_path: Path
) -> None:
    digest = hashlib.md5(b"alpha").hexdigest()
    folder = tmp_path / "node" / "cache" / "files" / digest[:2]
    folder.mkdir()
    left = killed_process_leaves(folder)
    cache.checkout([Checkout(content, tmp_path / "job")], store)
    filled(cache, content)
    assert not left.exists()
    assert read(tmp_path / "job") == FILES


def test_an_object_that_is_missing_leaves_what_came_before(
    content: Content, cache: NodeCache, store: Store, tmp_path: Path
) -> None:
    """The same destination again: a retry in the same scratch."""
    digest = hashlib.md5(b"alpha").hexdigest()
    store.delete(object_key(digest))
    with pytest.raises(MissingObjectError):
        cache.checkout([Checkout(content, tmp_path / "job")], store)
    store.put(object_key(digest), b"alpha")
    cache.checkout([Checkout(content, tmp_path / "job")], store)
    assert read(tmp_path / "job") == FILES


@pytest.mark.parametrize("how", ["a link", "writable by others"])
def test_a_directory_that_others_could_write_to_is_refused(tmp_path: Path, how: str) -> None:
    root = tmp_path / "cache"
    if how == "a link":
        root.symlink_to(tree(tmp_path / "elsewhere", {}))
    else:
        root.mkdir()
        root.chmod(0o777)
    with pytest.raises(InputError, match=str(root)):
        NodeCache(root)


def test_what_is_in_the_way(content: Content, cache: NodeCache, store: Store, tmp_path: Path) -> None:
    home = tree(tmp_path / "out", {"a/x": b""})
    with pytest.raises(InputError, match="a: is a directory, and a file is to be written there"):
        cache.checkout([Checkout(content, home, True)], store)


def test_many_contents_are_fetched_as_one_batch(
    store: Store, tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [
        sent(tree(tmp_path / "src" / f"{n}", {"a": b"%d" % n}), store, hashes).content for n in range(9)
    ]
    started: list[int] = []
    monkeypatch.setattr("ray_decorator.job.disk.cache.fill", lambda copies: started.append(len(copies)))
    cache = NodeCache(tmp_path / "cache")
    wanted = [Checkout(content, tmp_path / "job" / f"{n}") for n, content in enumerate(contents)]
    assert cache.checkout(wanted, store) > 0
    assert [(tmp_path / "job" / f"{n}" / "a").read_bytes() for n in range(9)] == [b"%d" % n for n in range(9)]
    assert started == [9]


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("name", TREES)
def test_a_job_finds_a_whole_tree(
    store: Store, cache: NodeCache, tmp_path: Path, hashes: HashCache, name: str, writable: bool
) -> None:
    source = build(tmp_path / "source", TREES[name])
    content = sent(source, store, hashes).content
    for job in ("first", "second"):  # from the store, and from the cache
        cache.checkout([Checkout(content, tmp_path / job / "dep", writable)], store)
        assert described(tmp_path / job / "dep") == described(source)
