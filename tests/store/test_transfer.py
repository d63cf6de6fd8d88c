"""Content goes to a store and comes home: what must be true whatever happens on the way."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import servers
from store_fixtures import s3_store
from trees import killed_process_leaves, numbered, read, sent, tree

from ray_decorator.content.hash_cache import HashCache
from ray_decorator.content.manifest import dump, object_key
from ray_decorator.core.errors import CorruptObjectError, InputError, MissingObjectError
from ray_decorator.core.model import Content
from ray_decorator.core.progress import NoProgress, Phase
from ray_decorator.store.store import Store
from ray_decorator.store.transfer import pull, push, snapshot

QUIET = NoProgress()
MIB = 1024 * 1024
UNREADABLE = "/proc/self/mem"  # a file to stat, and nobody, not even root, can read its beginning
only_on_linux = pytest.mark.skipif(sys.platform != "linux", reason=f"there is no {UNREADABLE} elsewhere")


class Tally:
    """A Progress that adds up."""

    def __init__(self) -> None:
        self.expected: dict[str, list[int]] = {}
        self.done: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def expect(self, phase: Phase, items: int, size: int = 0) -> None:
        self._add(self.expected, phase, items, size)

    def advance(self, phase: Phase, items: int, size: int = 0) -> None:
        self._add(self.done, phase, items, size)

    def _add(self, sums: dict[str, list[int]], phase: Phase, items: int, size: int) -> None:
        with self._lock:
            row = sums.setdefault(phase, [0, 0])
            row[0] += items
            row[1] += size


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


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
        assert taken.content == Content(md5(b"#!/bin/sh"), 9, 1, ("",))
        assert pull(taken.content, tmp_path / "new" / "home.sh", store, hashes, QUIET) == 9
        assert (tmp_path / "new" / "home.sh").read_bytes() == b"#!/bin/sh"
        assert os.access(tmp_path / "new" / "home.sh", os.X_OK)

    def test_a_directory_without_files(self, store: Store, tmp_path: Path, hashes: HashCache) -> None:
        (tmp_path / "source" / "empty").mkdir(parents=True)
        taken = sent(tmp_path / "source", store, hashes)
        assert taken.content.files == 0
        pull(taken.content, tmp_path / "home", store, hashes, QUIET)
        assert list((tmp_path / "home").iterdir()) == []

    @pytest.mark.parametrize("size", [8 * MIB + 1, 16 * MIB + 1, 70 * MIB + 7])
    def test_a_large_file(self, store: Store, tmp_path: Path, hashes: HashCache, size: int) -> None:
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


class TestRequests:
    """Counted at a proxy before a real server."""

    def test_an_empty_store_costs_one_list_and_the_manifest_goes_last(
        self, rclone: servers.Server, tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with servers.counting(rclone) as (server, requests):
            taken = sent(tree(tmp_path / "t", numbered(200)), s3_store(server, monkeypatch), hashes)
        assert requests.verbs() == ["HEAD", "LIST"] + ["PUT"] * 201
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
        self, rclone: servers.Server, tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its first page tells how many there are: here too many against twenty unknown files."""
        store = s3_store(rclone, monkeypatch)
        sent(tree(tmp_path / "others", numbered(2500, 16)), store, hashes)
        with servers.counting(rclone) as (server, requests):
            there = s3_store(server, monkeypatch, store.url)
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


class TestNothingPoisonsTheStore:
    @pytest.mark.parametrize("size", [1000, 20 * MIB])
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

    @pytest.mark.parametrize("size", [1000, 20 * MIB])
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

        (tmp_path / "f").write_bytes(b"1" * 20 * MIB)
        store = s3_store(moto, monkeypatch)
        taken = snapshot(tmp_path / "f", hashes, QUIET)
        (tmp_path / "f").write_bytes(b"2" * 20 * MIB)
        with pytest.raises(InputError):
            push(taken, store, hashes, QUIET)
        client = boto3.client("s3")
        assert "Uploads" not in client.list_multipart_uploads(Bucket=servers.BUCKET)


class TestSnapshot:
    def test_all_that_cannot_be_taken_is_named(self, tmp_path: Path, hashes: HashCache) -> None:
        source = tree(tmp_path / "t", {"fine": b""})
        os.mkfifo(source / "fifo")
        (source / "dangling").symlink_to("nowhere")
        (source / "loop").symlink_to("loop")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(source / "socket"))
        with pytest.raises(InputError) as info:
            snapshot(source, hashes, QUIET)
        assert info.value.problems == (
            f"{source}/dangling: a symlink that leads nowhere",
            f"{source}/fifo: is a FIFO, not a file or directory",
            f"{source}/loop: a symlink that leads nowhere",
            f"{source}/socket: is a socket, not a file or directory",
        )

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_unreadable(self, tmp_path: Path, hashes: HashCache) -> None:
        source = tree(tmp_path / "t", {"a": b"", "b": b""})
        (source / "a").chmod(0)
        with pytest.raises(InputError, match=r"a: cannot be read \(Permission denied\)"):
            snapshot(source, hashes, QUIET)

    def test_a_path_that_is_not_there(self, tmp_path: Path, hashes: HashCache) -> None:
        with pytest.raises(InputError, match=r"none: there is no such file or directory"):
            snapshot(tmp_path / "none", hashes, QUIET)
        with pytest.raises(InputError, match=r"/dev/null: is a device, not a file or directory"):
            snapshot(Path("/dev/null"), hashes, QUIET)

    def test_a_path_that_is_a_link_to_nothing_says_where_it_leads(
        self, tmp_path: Path, hashes: HashCache
    ) -> None:
        (tmp_path / "data").symlink_to("first")
        (tmp_path / "first").symlink_to("mnt/second")
        with pytest.raises(InputError) as info:
            snapshot(tmp_path / "data", hashes, QUIET)
        assert str(info.value) == (
            f"{tmp_path}/data: is a symlink to {tmp_path}/mnt/second, which does not exist; "
            "mend the link, or fetch what it leads to"
        )

    def test_links(self, tmp_path: Path, hashes: HashCache, caplog: pytest.LogCaptureFixture) -> None:
        source = tree(tmp_path / "t", {"real/a": b"a"})
        (source / "file").symlink_to("real/a")
        (source / "folder").symlink_to("real")
        (tmp_path / "root").symlink_to("t")
        for _ in range(2):
            taken = snapshot(tmp_path / "root", hashes, QUIET)
            assert sorted(entry.relpath for entry in taken.entries) == ["file", "real/a"]
        assert warnings(caplog) == [
            f"{tmp_path}/root: links to directories are not followed, and so left out (folder -> real). Name "
            "each path that is needed in deps or outs itself, or put a copy in the link's place"
        ]

    def test_of_many_links_to_directories_three_are_named(
        self, tmp_path: Path, hashes: HashCache, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = tree(tmp_path / "t", {"sub/a": b"a"})
        for name in ("train", "val", "test", "sub/extra", ".git", "sub/.dvc", ".hg"):
            (source / name).symlink_to(tree(tmp_path / "elsewhere", {}))
        snapshot(source, hashes, QUIET)
        [warning] = warnings(caplog)
        there = tmp_path / "elsewhere"
        assert f"(sub/extra -> {there}; test -> {there}; train -> {there}; … (4 in all)). Name" in warning

    def test_a_jobs_link_into_its_own_out_is_left_out_in_silence(
        self, tmp_path: Path, hashes: HashCache, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = tree(tmp_path / "t", {"step-2/weights": b"w"})
        (source / "latest").symlink_to("step-2")
        assert snapshot(source, hashes, QUIET, lenient=True).content.files == 1
        assert warnings(caplog) == []
        (source / "other").symlink_to(tree(tmp_path / "elsewhere", {}))
        snapshot(source, hashes, QUIET, lenient=True)
        [warning] = warnings(caplog)
        assert f"(other -> {tmp_path / 'elsewhere'})" in warning

    def test_what_tools_keep_in_a_link_is_left_out_in_silence(
        self, tmp_path: Path, hashes: HashCache, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = tree(tmp_path / "t", {"a": b"a"})
        for name in (".git", ".hg", ".dvc"):
            (source / name).symlink_to(tree(tmp_path / "elsewhere", {}))
        assert snapshot(source, hashes, QUIET).content.files == 1
        assert warnings(caplog) == []

    def test_the_second_time_nothing_is_hashed_but_what_changed(
        self, tmp_path: Path, hashes: HashCache
    ) -> None:
        source = tree(tmp_path / "t", numbered(30))
        settle()
        first = snapshot(source, hashes, QUIET)
        (source / "0" / "0.bin").write_bytes(b"new")
        (source / "1" / "1.bin").unlink()
        tally = Tally()
        second = snapshot(source, hashes, tally)
        assert tally.done == {"hashing": [1, 3]}
        assert second.content.files == 29
        assert second.content.digest != first.content.digest

    def test_a_change_in_the_same_tick_is_seen(self, tmp_path: Path, hashes: HashCache) -> None:
        """The size stays, and the times may: so what is that fresh is not kept in the cache."""
        file = tmp_path / "f"
        for number in range(50):
            file.write_bytes(b"%04d" % number)
            assert snapshot(file, hashes, QUIET).content.digest == md5(b"%04d" % number)


class TestALenientSnapshot:
    """Of what a job has written: it cannot be asked to write it again."""

    def test_leaves_out_what_cannot_be_taken_and_takes_the_rest(
        self, store: Store, tmp_path: Path, hashes: HashCache, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = tree(tmp_path / "t", {"model": b"weights", "sub/log": b"line"})
        os.mkfifo(source / "sub" / "fifo")
        (source / "dangling").symlink_to("nowhere")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(source / "socket"))
        taken = snapshot(source, hashes, QUIET, lenient=True)
        push(taken, store, hashes, QUIET)
        pull(taken.content, tmp_path / "home", store, hashes, QUIET)
        assert read(tmp_path / "home") == {"model": b"weights", "sub/log": b"line"}
        assert taken.content == Content(taken.content.digest, len(b"weightsline"), 2)
        assert warnings(caplog) == [
            f"{source}: left out, since only files and directories that can be read are taken: "
            "dangling: a symlink that leads nowhere; socket: is a socket, not a file or directory; "
            "sub/fifo: is a FIFO, not a file or directory"
        ]

    def test_names_five_of_many(
        self, tmp_path: Path, hashes: HashCache, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = tree(tmp_path / "t", {"fine": b""})
        for number in range(7):
            (source / f"dangling{number}").symlink_to("nowhere")
        assert snapshot(source, hashes, QUIET, lenient=True).content.files == 1
        [warning] = warnings(caplog)
        assert "dangling4: a symlink that leads nowhere; … (7 in all)" in warning
        assert "dangling5" not in warning

    @only_on_linux
    def test_a_file_that_cannot_be_read(
        self, tmp_path: Path, hashes: HashCache, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = tree(tmp_path / "t", {"fine": b"fine", "run": b"run"})
        (source / "run").chmod(0o755)
        (source / "broken").symlink_to(UNREADABLE)
        with pytest.raises(InputError, match=r"t/broken: cannot be read \("):
            snapshot(source, hashes, QUIET)
        taken = snapshot(source, hashes, QUIET, lenient=True)
        assert sorted(entry.relpath for entry in taken.entries) == ["fine", "run"]
        assert (taken.content.files, taken.content.executables) == (2, ("run",))
        [warning] = warnings(caplog)
        assert re.search(r"are taken: broken: cannot be read \(.+\)$", warning)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_directory_that_cannot_be_read(self, tmp_path: Path, hashes: HashCache) -> None:
        source = tree(tmp_path / "t", {"fine": b"fine", "closed/a": b"a"})
        (source / "closed").chmod(0)
        assert snapshot(source, hashes, QUIET, lenient=True).content.files == 1
        with pytest.raises(InputError, match=r"/closed: cannot be read \(Permission denied\)"):
            snapshot(source / "closed", hashes, QUIET, lenient=True)

    @only_on_linux
    def test_is_of_no_help_where_the_path_itself_cannot_be_taken(
        self, tmp_path: Path, hashes: HashCache, caplog: pytest.LogCaptureFixture
    ) -> None:
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "dangling").symlink_to("nowhere")
        (tmp_path / "broken").symlink_to(UNREADABLE)
        for name, why in (
            ("fifo", r"fifo: is a FIFO, not a file or directory"),
            ("dangling", r"dangling: is a symlink to \S+/nowhere, which does not exist"),
            ("none", r"none: there is no such file or directory"),
            ("broken", r"cannot be read \("),
        ):
            with pytest.raises(InputError, match=why):
                snapshot(tmp_path / name, hashes, QUIET, lenient=True)
        assert warnings(caplog) == []


class TestComingHome:
    def test_it_merges(self, store: Store, tmp_path: Path, hashes: HashCache) -> None:
        taken = sent(tree(tmp_path / "t", {"a": b"new", "sub/b": b"b", "same": b"same"}), store, hashes)
        home = tree(tmp_path / "home", {"a": b"old", "mine": b"mine", "sub/mine": b"mine", "same": b"same"})
        before = (home / "same").stat()
        assert pull(taken.content, home, store, hashes, QUIET) == len(b"new" + b"b")
        assert read(home) == {
            "a": b"new", "mine": b"mine", "sub/b": b"b", "sub/mine": b"mine", "same": b"same"
        }  # fmt: skip
        assert (home / "same").stat() == before or (home / "same").stat().st_mtime_ns == before.st_mtime_ns

    def test_the_umask_rules(self, store: Store, tmp_path: Path, hashes: HashCache) -> None:
        source = tree(tmp_path / "t", {"plain": b"p", "run": b"r"})
        (source / "run").chmod(0o755)
        taken = sent(source, store, hashes)
        old = os.umask(0o027)
        try:
            pull(taken.content, tmp_path / "home", store, hashes, QUIET)
        finally:
            os.umask(old)
        assert (tmp_path / "home" / "plain").stat().st_mode & 0o777 == 0o640
        assert (tmp_path / "home" / "run").stat().st_mode & 0o777 == 0o750

    def test_a_right_file_gets_its_executable_bit(
        self, store: Store, tmp_path: Path, hashes: HashCache
    ) -> None:
        source = tree(tmp_path / "t", {"run": b"r"})
        (source / "run").chmod(0o755)
        taken = sent(source, store, hashes)
        home = tree(tmp_path / "home", {"run": b"r"})
        (home / "run").chmod(0o640)
        assert pull(taken.content, home, store, hashes, QUIET) == 0
        assert (home / "run").stat().st_mode & 0o777 == 0o750

    def test_a_hard_link_into_dvcs_cache_is_not_written_through(
        self, store: Store, tmp_path: Path, hashes: HashCache
    ) -> None:
        taken = sent(tree(tmp_path / "t", {"a": b"new"}), store, hashes)
        home = tree(tmp_path / "home", {"a": b"old"})
        os.link(home / "a", tmp_path / "in-dvc-cache")
        pull(taken.content, home, store, hashes, QUIET)
        assert (home / "a").read_bytes() == b"new"
        assert (tmp_path / "in-dvc-cache").read_bytes() == b"old"

    @pytest.mark.parametrize("single", [True, False])
    def test_nor_is_a_symlink_into_it(
        self, store: Store, tmp_path: Path, hashes: HashCache, single: bool
    ) -> None:
        source = tree(tmp_path / "t", {"a": b"new"})
        taken = sent(source / "a" if single else source, store, hashes)
        (tmp_path / "in-dvc-cache").write_bytes(b"old")
        (tmp_path / "in-dvc-cache").chmod(0o444)
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "a").symlink_to(tmp_path / "in-dvc-cache")
        pull(taken.content, tmp_path / "home" / "a" if single else tmp_path / "home", store, hashes, QUIET)
        assert (tmp_path / "home" / "a").read_bytes() == b"new"
        assert (tmp_path / "in-dvc-cache").read_bytes() == b"old"

    def test_a_destination_that_is_a_link_is_written_through(
        self, store: Store, tmp_path: Path, hashes: HashCache
    ) -> None:
        source = tree(tmp_path / "t", {"a": b"new"})
        folder, file = sent(source, store, hashes), sent(source / "a", store, hashes)
        tree(tmp_path / "scratch", {"kept": b"kept", "file": b"old"})
        (tmp_path / "home").symlink_to("scratch")
        (tmp_path / "file").symlink_to("scratch/file")
        pull(folder.content, tmp_path / "home", store, hashes, QUIET)
        pull(file.content, tmp_path / "file", store, hashes, QUIET)
        assert (tmp_path / "home").is_symlink()
        assert (tmp_path / "file").is_symlink()
        assert read(tmp_path / "scratch") == {"a": b"new", "file": b"new", "kept": b"kept"}

    def test_a_link_within_the_destination(self, store: Store, tmp_path: Path, hashes: HashCache) -> None:
        taken = sent(tree(tmp_path / "t", {"latest": b"new", "link/b": b"b"}), store, hashes)
        home = tree(tmp_path / "home", {"v1": b"old", "folder/kept": b""})
        (home / "latest").symlink_to("v1")
        (home / "link").symlink_to("folder")
        pull(taken.content, home, store, hashes, QUIET)
        assert (home / "latest").is_symlink()
        assert (home / "v1").read_bytes() == b"new"
        assert (home / "folder" / "b").read_bytes() == b"b"

    def test_links_out_of_the_destination_are_refused(
        self, store: Store, tmp_path: Path, hashes: HashCache
    ) -> None:
        taken = sent(tree(tmp_path / "t", {"a": b"new", "link/b": b"b"}), store, hashes)
        outside = tree(tmp_path / "outside", {"b": b"precious"})
        home = tree(tmp_path / "home", {"a": b"old"})
        (home / "link").symlink_to(outside)
        with pytest.raises(InputError) as info:
            pull(taken.content, home, store, hashes, QUIET)
        assert f"{home}/link: links to {outside}, out of {home}" in str(info.value)
        assert read(outside) == {"b": b"precious"}
        assert (home / "a").read_bytes() == b"old", "nothing is written before all is checked"

    def test_a_file_link_out_is_replaced_not_followed(
        self, store: Store, tmp_path: Path, hashes: HashCache
    ) -> None:
        taken = sent(tree(tmp_path / "t", {"a": b"new"}), store, hashes)
        outside = tree(tmp_path / "outside", {"a": b"precious"})
        home = tree(tmp_path / "home", {})
        (home / "a").symlink_to(outside / "a")
        pull(taken.content, home, store, hashes, QUIET)
        assert read(home) == {"a": b"new"}
        assert read(outside) == {"a": b"precious"}

    def test_what_is_in_the_way_is_named_and_left(
        self, store: Store, tmp_path: Path, hashes: HashCache
    ) -> None:
        taken = sent(tree(tmp_path / "t", {"a": b"1", "b/c": b"2", "d": b"3"}), store, hashes)
        home = tree(tmp_path / "home", {"a/x": b"x", "b": b"b"})
        with pytest.raises(InputError) as info:
            pull(taken.content, home, store, hashes, QUIET)
        assert info.value.problems == (
            f"{home}/a: is a directory, and a file is to be written there; move it away",
            f"{home}/b: is a file, and a directory is to be written there; move it away",
        )
        assert read(home) == {"a/x": b"x", "b": b"b"}

    def test_a_file_for_a_directory_and_the_reverse(
        self, store: Store, tmp_path: Path, hashes: HashCache
    ) -> None:
        source = tree(tmp_path / "t", {"a": b"1"})
        folder, file = sent(source, store, hashes), sent(source / "a", store, hashes)
        home = tree(tmp_path / "home", {"x": b"x"})
        with pytest.raises(InputError, match="home: is a directory, and a file is to be written there"):
            pull(file.content, home, store, hashes, QUIET)
        with pytest.raises(InputError, match="x: is a file, and a directory is to be written there"):
            pull(folder.content, home / "x", store, hashes, QUIET)
        with pytest.raises(InputError, match=r"x/y: a file cannot be written there \(Not a directory\)"):
            pull(file.content, home / "x" / "y", store, hashes, QUIET)
        assert read(home) == {"x": b"x"}


class TestVerified:
    @pytest.mark.parametrize("size", [1000, 20 * MIB, 70 * MIB])
    def test_a_corrupt_object_is_named_and_nothing_is_in_place(
        self, store: Store, tmp_path: Path, hashes: HashCache, size: int
    ) -> None:
        good, bad = b"1" * size, b"1" * (size - 1) + b"2"
        source = tree(tmp_path / "t", {"f": good})
        taken = sent(source, store, hashes)
        key = object_key(md5(good))
        store.put_parts(key, [bad[i : i + 8 * MIB] for i in range(0, size, 8 * MIB)], size, 8 * MIB, 4)
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


def test_a_hundred_thousand_rows_take_seconds(tmp_path: Path, hashes: HashCache) -> None:
    """What is done for each row, but for the bytes themselves, is not done for each pair of rows."""
    import time

    from ray_decorator.content.manifest import Row, load
    from ray_decorator.content.merge import plan

    rows = [Row(f"{n % 500}/{n}", md5(b"%d" % n)) for n in range(100_000)]
    started = time.process_time()
    digest, data = dump(rows)
    assert len(plan(tmp_path / "home", load(data, digest)).targets) == 100_000
    hashes.remember("s3://b", [row.md5 for row in rows])
    assert len(hashes.known("s3://b", [row.md5 for row in rows])) == 100_000
    assert time.process_time() - started < 10


def test_memory_is_bounded_whatever_the_size(rclone: servers.Server, tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from ray_decorator.store import transfer, identity, store
from ray_decorator.content import hash_cache
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
        tree(tmp_path / "t", {f"medium{number}": os.urandom(15 * MIB)})
    tree(tmp_path / "t", {"large": os.urandom(300 * MIB)})
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "t"), str(tmp_path / "home")],
        env={**os.environ, **rclone.environment()},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 300


def settle() -> None:
    """Wait until what was just written is old enough for the hash cache to keep."""
    import time

    time.sleep(0.12)
