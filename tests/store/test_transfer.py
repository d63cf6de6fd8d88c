"""Content goes to a store and comes home: what must be true whatever happens on the way."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import servers
from store_fixtures import s3_store
from trees import QUIET, Tally, numbered, read, sent, tree
from whole_trees import TREES, build, described

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.manifest import dump, object_key
from ray_decorator.core.errors import CorruptObjectError, InputError, MissingObjectError
from ray_decorator.core.values.contents import Content, Extras
from ray_decorator.store.store import Store
from ray_decorator.store.transfer import pull, pull_all, push, push_all, snapshot

MIB = 1024 * 1024


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


FILES = {
    "a b.txt": b"text",
    "zero": b"",
    "deep/er/ü\n.bin": bytes(range(256)) * 999,
    os.fsdecode(b"deep/not\xffutf8"): b"x",
    "same/1": b"twice",
    "same/2": b"twice",
}


class TestThereAndBack:
    def test_a_directory(self, store: Store, tmp_path: Path, hashes: HashCache) -> None:
        source = tree(tmp_path / "source", FILES)
        (source / "zero").chmod(0o755)
        tally = Tally()
        taken = snapshot(source, hashes, tally)
        count = push(taken, store, hashes, tally)
        total = sum(map(len, FILES.values()))
        assert taken.content == Content(taken.content.digest, total, 6, executables=("zero",))
        assert count == total - len(b"twice") + store.head(object_key(taken.content.digest))
        assert pull(taken.content, tmp_path / "home" / "x", store, hashes, tally) == total
        assert read(tmp_path / "home" / "x") == FILES
        assert os.access(tmp_path / "home" / "x" / "zero", os.X_OK)
        assert not (tmp_path / "home" / "x" / "a b.txt").stat().st_mode & 0o111
        assert tally.done == tally.expected

    def test_a_file(self, store: Store, tmp_path: Path, hashes: HashCache) -> None:
        (tmp_path / "run.sh").write_bytes(b"#!/bin/sh")
        (tmp_path / "run.sh").chmod(0o700)
        taken = sent(tmp_path / "run.sh", store, hashes)
        assert taken.content == Content(md5(b"#!/bin/sh"), 9, 1, ("",), Extras(private=(("", 0o077),)))
        assert pull(taken.content, tmp_path / "new" / "home.sh", store, hashes, QUIET) == 9
        assert (tmp_path / "new" / "home.sh").read_bytes() == b"#!/bin/sh"
        assert os.access(tmp_path / "new" / "home.sh", os.X_OK)

    def test_a_directory_without_files(self, store: Store, tmp_path: Path, hashes: HashCache) -> None:
        (tmp_path / "source" / "empty").mkdir(parents=True)
        taken = sent(tmp_path / "source", store, hashes)
        assert taken.content.files == 0
        pull(taken.content, tmp_path / "home", store, hashes, QUIET)
        assert list((tmp_path / "home").rglob("*")) == [tmp_path / "home" / "empty"]

    @pytest.mark.usefixtures("small_parts")
    @pytest.mark.parametrize("size", [MIB + 1, 5 * MIB + 1, 11 * MIB + 7])
    def test_a_large_file(
        self, store: Store, tmp_path: Path, hashes: HashCache, size: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ray_decorator.store.download._RANGED", 8 * MIB)
        data = os.urandom(MIB) * (size // MIB) + b"x" * (size % MIB)
        (tmp_path / "large").write_bytes(data)
        tally = Tally()
        taken = snapshot(tmp_path / "large", hashes, tally)
        assert push(taken, store, hashes, tally) == size
        assert pull(taken.content, tmp_path / "home", store, hashes, tally) == size
        assert (tmp_path / "home").read_bytes() == data
        assert tally.done == tally.expected == {
            "hashing": [1, size], "uploading": [1, size], "downloading": [1, size]
        }  # fmt: skip

    def test_what_came_home_is_known(self, store: Store, tmp_path: Path, hashes: HashCache) -> None:
        taken = sent(tree(tmp_path / "source", FILES), store, HashCache.in_memory())
        pull(taken.content, tmp_path / "home", store, hashes, QUIET)
        tally = Tally()
        again = snapshot(tmp_path / "home", hashes, tally)
        assert again.content == taken.content
        assert tally.done == {}, "nothing is hashed again"
        (tmp_path / "home" / "a b.txt").write_bytes(b"TEXT")
        assert snapshot(tmp_path / "home", hashes, QUIET).content != taken.content
        assert push(again, store, hashes, QUIET) == 0
        assert hashes.known(store.place, [taken.content.digest]) == {taken.content.digest}


def test_what_is_no_data_lies_in_an_area_of_ours(store: Store, tmp_path: Path, hashes: HashCache) -> None:
    """One batch of both, with bytes that both have; neither knows of the other's objects."""
    data, code = (
        snapshot(tree(tmp_path / name, {"same": b"1", name: name.encode()}), hashes, QUIET)
        for name in ("data", "code")
    )
    code = code.within("code")
    assert all(push_all([data, code, data], store, hashes, QUIET)[:2])
    assert push_all([data, code], store, hashes, QUIET) == [0, 0]
    keys = sorted(key for page in store.list("") for key, _ in page)
    ours = [key.removeprefix("ray_s3/code/") for key in keys if key.startswith("ray_s3/code/")]
    theirs = [key for key in keys if not key.startswith("ray_s3/")]
    shared = object_key(md5(b"1"))
    assert sorted(ours) == sorted([shared, object_key(md5(b"code")), object_key(code.content.digest)])
    assert sorted(theirs) == sorted([shared, object_key(md5(b"data")), object_key(data.content.digest)])
    store.delete(shared)  # as dvc gc does
    wanted = [(one.content, tmp_path / "home" / one.content.area) for one in (code, data)]
    fine, lost = pull_all(wanted, store, hashes, QUIET)
    assert fine.error is None and read(tmp_path / "home" / "code") == {"same": b"1", "code": b"code"}
    assert isinstance(lost.error, MissingObjectError)


class TestRequests:
    """Counted at a proxy before a real server."""

    def test_an_empty_store_costs_one_list_and_the_manifest_goes_last(
        self, rclone: servers.Server, tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with servers.counting(rclone) as (server, requests):
            taken = sent(tree(tmp_path / "t", numbered(64)), s3_store(server, monkeypatch), hashes)
        assert requests.verbs() == ["HEAD", "LIST"] + ["PUT"] * 65
        manifest = object_key(taken.content.digest)
        assert requests.paths("HEAD")[0].endswith(manifest)
        assert requests.paths("PUT")[-1].endswith(manifest)
        assert requests.most_flying <= 32

    def test_unchanged(
        self, rclone: servers.Server, tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with servers.counting(rclone) as (server, requests):
            store = s3_store(server, monkeypatch)
            sent(tree(tmp_path / "t", numbered(50)), store, hashes)
            requests.seen.clear()
            assert push(snapshot(tmp_path / "t", hashes, QUIET), store, hashes, QUIET) == 0
            assert requests.seen == []
            assert push(snapshot(tmp_path / "t", hashes, QUIET), store, HashCache.in_memory(), QUIET) == 0
            assert requests.verbs() == ["HEAD"]

    @pytest.mark.parametrize("size", [100, MIB])
    def test_one_file_changed(
        self,
        rclone: servers.Server,
        tmp_path: Path,
        hashes: HashCache,
        monkeypatch: pytest.MonkeyPatch,
        size: int,
    ) -> None:
        with servers.counting(rclone) as (server, requests):
            store = s3_store(server, monkeypatch)
            sent(tree(tmp_path / "t", numbered(50)), store, hashes)
            (tmp_path / "t" / "0" / "0.bin").write_bytes(os.urandom(size))
            requests.seen.clear()
            sent(tmp_path / "t", store, hashes)
            assert len(requests.seen) <= 4

    def test_a_full_store_is_not_listed_to_its_end(
        self, tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its first page tells how many there are: here too many against twenty unknown files."""
        others = {object_key(md5(b"%d" % n)): b"%d" % n for n in range(1700)}
        tree(tmp_path / "served" / servers.BUCKET / "full", others)
        with (
            servers.rclone(tmp_path / "served") as full,
            servers.counting(full) as (server, requests),
        ):
            there = s3_store(server, monkeypatch, f"s3://{servers.BUCKET}/full")
            sent(tree(tmp_path / "t", {str(n): os.urandom(200_000) for n in range(20)}), there, hashes)
        assert len(requests.paths("LIST")) == 1
        assert sorted(requests.verbs()) == ["HEAD"] * 21 + ["LIST"] + ["PUT"] * 21

    def test_all_right_at_home_costs_the_manifest(
        self, rclone: servers.Server, tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with servers.counting(rclone) as (server, requests):
            store = s3_store(server, monkeypatch)
            taken = sent(tree(tmp_path / "t", numbered(50)), store, hashes)
            requests.seen.clear()
            assert pull(taken.content, tmp_path / "t", store, hashes, QUIET) == 0
        assert requests.verbs() == ["GET"]


def test_credentials_that_may_not_list(
    rclone: servers.Server, tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To them S3 says AccessDenied also of keys that are not there."""
    files = {str(n): os.urandom(200_000) for n in range(20)}

    def refuse(verb: str, path: str) -> bool:
        return verb in ("LIST", "missing HEAD", "missing GET")

    with servers.counting(rclone, refuse) as (server, _):
        store = s3_store(server, monkeypatch)
        store.check()
        taken = sent(tree(tmp_path / "t", files), store, hashes)
        assert push(taken, store, HashCache.in_memory(), QUIET, trust=False) > 0
        pull(taken.content, tmp_path / "home", store, None, QUIET)
    assert read(tmp_path / "home") == files


class TestHealing:
    def test_lost_objects(self, store: Store, tmp_path: Path, hashes: HashCache) -> None:
        files = numbered(40)
        taken = sent(tree(tmp_path / "t", files), store, hashes)
        lost = sorted(md5(files[name]) for name in ("0/0.bin", "3/3.bin"))
        for digest in lost:
            store.delete(object_key(digest))

        with pytest.raises(MissingObjectError) as info:
            pull(taken.content, tmp_path / "home", store, None, QUIET)
        assert sorted(info.value.digests) == lost
        assert "run again to upload them anew" in str(info.value)

        assert push(taken, store, hashes, QUIET) == 0, "it is trusted to hold what it held"
        assert push(taken, store, HashCache.in_memory(), QUIET) == 0, "its manifest stands for all"
        healed = push(taken, store, hashes, QUIET, trust=False)
        manifest = store.head(object_key(taken.content.digest)) or 0
        assert healed == len(files["0/0.bin"]) + len(files["3/3.bin"]) + manifest
        pull(taken.content, tmp_path / "home", store, None, QUIET)
        assert read(tmp_path / "home") == files

    def test_a_lost_manifest(self, store: Store, tmp_path: Path, hashes: HashCache) -> None:
        taken = sent(tree(tmp_path / "t", numbered(3)), store, hashes)
        store.delete(object_key(taken.content.digest))
        with pytest.raises(MissingObjectError) as info:
            pull(taken.content, tmp_path / "home", store, None, QUIET)
        assert info.value.digests == (taken.content.digest,)
        push(taken, store, hashes, QUIET, trust=False)
        assert pull(taken.content, tmp_path / "home", store, None, QUIET) > 0

    def test_an_object_cut_short(self, store: Store, tmp_path: Path, hashes: HashCache) -> None:
        files = numbered(40)
        taken = sent(tree(tmp_path / "t", files), store, hashes)
        store.put(object_key(md5(files["0/0.bin"])), b"cut")
        push(taken, store, hashes, QUIET, trust=False)
        pull(taken.content, tmp_path / "home", store, None, QUIET)
        assert read(tmp_path / "home") == files

    @pytest.mark.parametrize(
        ("size", "others", "count"),
        [
            (1000, b"", 1),
            (1000, b"more", 20),
            (300_000, b"", 20),
            (300_000, b"more", 1),
            (6 * MIB, b"", 1),
            (6 * MIB, b"more", 20),
        ],
    )
    @pytest.mark.usefixtures("small_parts")
    def test_a_spoilt_object(
        self, store: Store, tmp_path: Path, hashes: HashCache, size: int, others: bytes, count: int
    ) -> None:
        """As few and as many files, which are asked for one by one, and listed."""
        files = {f"{n}": b"%d" % n for n in range(count)} | {"f": b"1" * size}
        taken = sent(tree(tmp_path / "t", files), store, hashes)
        assert push(taken, store, hashes, QUIET, trust=False) < size or size == 1000, "seen to be right"
        spoilt, part = b"2" * size + others, 5 * MIB
        key = object_key(md5(files["f"]))
        store.put_parts(
            key, lambda: [spoilt[i : i + part] for i in range(0, len(spoilt), part)], len(spoilt), part, 4
        )
        with pytest.raises((CorruptObjectError, MissingObjectError)) as info:
            pull(taken.content, tmp_path / "home", store, hashes, QUIET)
        assert info.value.digests == (md5(files["f"]),) and f"f ({key})" in str(info.value)
        push(taken, store, hashes, QUIET, trust=False)
        pull(taken.content, tmp_path / "home", store, hashes, QUIET)
        assert read(tmp_path / "home") == files


@pytest.mark.usefixtures("small_parts")
class TestNothingPoisonsTheStore:
    @pytest.mark.parametrize("size", [1000, 6 * MIB])
    def test_a_file_that_changed_since_it_was_hashed(
        self, store: Store, tmp_path: Path, hashes: HashCache, size: int
    ) -> None:
        source = tree(tmp_path / "t", {"steady": b"steady", "moving": b"1" * size})
        taken = snapshot(source, hashes, QUIET)
        (source / "moving").write_bytes(b"2" * size)
        with pytest.raises(InputError, match=r"moving: changed while it was being read"):
            push(taken, store, hashes, QUIET)
        assert store.head(object_key(md5(b"1" * size))) is None
        assert store.head(object_key(taken.content.digest)) is None, "no manifest before its files"
        assert hashes.known(store.place, [taken.content.digest]) == set()

    @pytest.mark.parametrize("size", [1000, 6 * MIB])
    def test_a_file_that_went_away(self, store: Store, tmp_path: Path, hashes: HashCache, size: int) -> None:
        source = tree(tmp_path / "t", {"a": b"1" * size, "b": b"2" * size})
        taken = snapshot(source, hashes, QUIET)
        (source / "a").unlink()
        with pytest.raises(InputError, match=r"/a: cannot be read any more \(No such file"):
            push(taken, store, hashes, QUIET)
        assert store.head(object_key(taken.content.digest)) is None

    def test_no_unfinished_upload_remains(
        self, moto: servers.Server, tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import boto3

        (tmp_path / "f").write_bytes(b"1" * 6 * MIB)
        store = s3_store(moto, monkeypatch)
        taken = snapshot(tmp_path / "f", hashes, QUIET)
        (tmp_path / "f").write_bytes(b"2" * 6 * MIB)
        with pytest.raises(InputError):
            push(taken, store, hashes, QUIET)
        client = boto3.client("s3")
        ours = store.url.removeprefix(f"s3://{servers.BUCKET}/")
        assert "Uploads" not in client.list_multipart_uploads(Bucket=servers.BUCKET, Prefix=ours)


def test_thirty_thousand_rows_take_seconds(tmp_path: Path, hashes: HashCache) -> None:
    """What is done for each row, but for the bytes themselves, is not done for each pair of rows."""
    import time

    from ray_decorator.content.manifest import Row, load
    from ray_decorator.content.placing.merge import plan

    rows = [Row(f"{n % 500}/{n}", md5(b"%d" % n)) for n in range(30_000)]
    started = time.process_time()
    digest, data = dump(rows)
    assert len(plan(tmp_path / "home", load(data, digest)).targets) == 30_000
    hashes.remember("s3://b", [row.md5 for row in rows])
    assert len(hashes.known("s3://b", [row.md5 for row in rows])) == 30_000
    assert time.process_time() - started < 5


@pytest.mark.app
def test_memory_is_bounded_whatever_the_size(rclone: servers.Server, tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from ray_decorator.store import transfer, identity, store
from ray_decorator.content.hashes import hash_cache
from ray_decorator.core import progress
quiet, hashes = progress.NoProgress(), hash_cache.HashCache.in_memory()
there = store.open_store(identity.locate("s3://bucket/memory"))
def rss(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = rss()
taken = transfer.snapshot(Path(sys.argv[1]), hashes, quiet)
transfer.push(taken, there, hashes, quiet)
transfer.pull(taken.content, Path(sys.argv[2]), there, hashes, quiet)
print(rss() - before)
"""
    for number in range(24):
        tree(tmp_path / "t", {f"medium{number}": bytes([number]) * (15 * MIB)})
    tree(tmp_path / "t", {"large": bytes(300 * MIB)})
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "t"), str(tmp_path / "home")],
        env={**os.environ, **rclone.environment()},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 300


class TestWholeTrees:
    @pytest.mark.parametrize("name", TREES)
    def test_a_tree_comes_home_as_it_was(
        self, store: Store, tmp_path: Path, hashes: HashCache, name: str
    ) -> None:
        source = build(tmp_path / "source", TREES[name])
        taken = sent(source, store, hashes)
        rows = [(entry.relpath, entry.md5) for entry in taken.entries]
        assert taken.content.digest == dump(rows)[0]  # DVC's own, whatever the extras say
        pull(taken.content, tmp_path / "home", store, hashes, QUIET)
        assert described(tmp_path / "home") == described(source)
        assert pull(taken.content, tmp_path / "home", store, hashes, QUIET) == 0
        assert described(tmp_path / "home") == described(source)

    def test_the_mode_of_the_whole(self, store: Store, tmp_path: Path, hashes: HashCache) -> None:
        (build(tmp_path / "source", {"f": b"f"})).chmod(0o700)
        (tmp_path / "key").write_bytes(b"key")
        (tmp_path / "key").chmod(0o600)
        for name in ("source", "key"):
            pull(sent(tmp_path / name, store, hashes).content, tmp_path / "home" / name, store, hashes, QUIET)
            assert (tmp_path / "home" / name).stat().st_mode & 0o077 == 0

    def test_a_link_merges_into_what_is_there(self, store: Store, tmp_path: Path, hashes: HashCache) -> None:
        source = build(tmp_path / "source", {"step-2/w": b"2", "latest": "step-2", "last": "step-2/w"})
        home = build(
            tmp_path / "home", {"step-1/w": b"1", "latest": "step-1", "last": b"a copy", "mine": b"m"}
        )
        content = sent(source, store, hashes).content
        pull(content, home, store, hashes, QUIET)
        assert described(home) == {
            **described(source),
            "step-1": ("directory", "0o55"),
            "step-1/w": ("file", "0o44", b"1"),
            "mine": ("file", "0o44", b"m"),
        }
        there = build(tmp_path / "there", {"latest/w": b"1"})
        with pytest.raises(
            InputError, match="there/latest: is a directory, and a link is to be written there"
        ):
            pull(content, there, store, hashes, QUIET)
        assert described(there) == described(build(tmp_path / "again", {"latest/w": b"1"}))

    def test_a_link_leads_nowhere_out_by_way_of_one_at_home(
        self, store: Store, tmp_path: Path, hashes: HashCache
    ) -> None:
        source = build(tmp_path / "source", {"a/b/c/f": b"f", "a/b/up": "../../w", "w": b"w"})
        home = build(tmp_path / "home", {"x/y": b"y", "a/b": "../x"})
        with pytest.raises(InputError, match=r"home/x/up: a link to \.\./\.\./w would lead out of"):
            pull(sent(source, store, hashes).content, home, store, hashes, QUIET)
        assert os.listdir(home / "x") == ["y"]

    def test_a_file_is_no_more_open_than_the_one_that_it_replaces(
        self, store: Store, tmp_path: Path, hashes: HashCache
    ) -> None:
        source = build(tmp_path / "source", {"f": b"new", "same": b"same"})
        home = build(tmp_path / "home", {"f": (b"old", 0o600), "same": (b"same", 0o640)})
        pull(sent(source, store, hashes).content, home, store, hashes, QUIET)
        assert described(home) == {"f": ("file", "0o0", b"new"), "same": ("file", "0o40", b"same")}
        (source / "same").chmod(0o600)
        pull(sent(source, store, hashes).content, home, store, hashes, QUIET)
        assert described(home)["same"] == ("file", "0o0", b"same")
