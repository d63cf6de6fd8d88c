"""What a path holds: each file by content, and what is left out of it and said."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import socket
import sys
from pathlib import Path

import pytest
from trees import QUIET, Tally, numbered, read, settle, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.looking.snapshot import Entry, snapshot, snapshot_of
from ray_decorator.core.errors import InputError, MissingDepError
from ray_decorator.core.values.contents import Content, Extras
from ray_decorator.store.identity import locate
from ray_decorator.store.store import Store, open_store
from ray_decorator.store.transfer import pull, push

UNREADABLE = "/proc/self/mem"  # a file to stat, and nobody, not even root, can read its beginning
only_on_linux = pytest.mark.skipif(sys.platform != "linux", reason=f"there is no {UNREADABLE} elsewhere")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


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
            "correct the link, or fetch what it leads to"
        )

    def test_links(self, tmp_path: Path, hashes: HashCache, caplog: pytest.LogCaptureFixture) -> None:
        source = tree(tmp_path / "t", {"real/a": b"a"})
        (source / "file").symlink_to("real/a")
        (source / "folder").symlink_to("real")
        (tmp_path / "root").symlink_to("t")
        for _ in range(2):
            taken = snapshot(tmp_path / "root", hashes, QUIET)
            assert sorted(entry.relpath for entry in taken.entries) == ["file", "real/a"]
            assert taken.content.extras.links == (("file", "real/a"), ("folder", "real"))
        assert warnings(caplog) == []
        (source / "folder").unlink()
        (source / "folder").symlink_to("/usr")
        for _ in range(2):
            assert snapshot(tmp_path / "root", hashes, QUIET).content.extras.links == (("file", "real/a"),)
        assert warnings(caplog) == [
            f"{tmp_path}/root: links to directories are not followed, and so left out (folder -> /usr). Name "
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

    def test_a_jobs_link_into_its_own_out_needs_no_warning(
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

    def test_a_large_tree_is_known_with_its_links_and_empty_directories_until_one_changes(
        self, tmp_path: Path, hashes: HashCache
    ) -> None:
        source = tree(tmp_path / "t", numbered(1200, 8))
        (source / "empty").mkdir()
        (source / "latest").symlink_to("3")
        (source / "0/0.bin").chmod(0o600)
        settle()
        first = snapshot(source, hashes, QUIET)
        tally = Tally()
        assert snapshot(source, hashes, tally).content == first.content and not tally.expected
        assert first.content.extras == Extras((("0/0.bin", 0o077),), ("empty",), (("latest", "3"),))
        (source / "latest").unlink()
        (source / "more").mkdir()
        again = snapshot(source, hashes, QUIET).content
        assert again.extras == Extras((("0/0.bin", 0o077),), ("empty", "more"))
        assert again.digest == first.content.digest

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

    def test_what_is_version_controls_own_and_what_comes_from_elsewhere_is_named(
        self, tmp_path: Path, hashes: HashCache, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = tree(tmp_path / "t", {"a": b"a", ".git/config": b"c", "sub/.dvc/x": b"x", "sub/.hg/x": b"x"})
        (source / "link").symlink_to(tree(tmp_path / "elsewhere", {"f": b"f"}) / "f")
        taken = snapshot(source, hashes, QUIET, lenient=True)
        assert taken.content.extras.folders == ("sub",)
        assert warnings(caplog) == [
            f"{source}: left out, since it is version control's own: .git; sub/.dvc; sub/.hg",
            f"{source}: links that lead out of it are replaced by the files that they lead to "
            f"(link -> {tmp_path}/elsewhere/f)",
        ]
        caplog.clear()
        snapshot(source, hashes, QUIET)
        assert warnings(caplog) == []  # of what is at home, the user knows

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
        unreadable, led_out = warnings(caplog)
        assert re.search(r"are taken: broken: cannot be read \(.+\)$", unreadable)
        assert led_out.endswith(f"replaced by the files that they lead to (broken -> {UNREADABLE})")

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


def test_what_is_not_there_is_a_file_not_found_error(tmp_path: Path, hashes: HashCache) -> None:
    tree(tmp_path / "whole", {"a": b"a"})
    (tmp_path / "whole" / "lost").symlink_to("nowhere")
    (tmp_path / "link").symlink_to("nowhere")
    for name, filename in (("none", "none"), ("link", "link"), ("whole", "whole/lost")):
        with pytest.raises(MissingDepError) as caught:
            snapshot(tmp_path / name, hashes, QUIET)
        assert caught.value.filename == str(tmp_path / filename)
    os.mkfifo(tmp_path / "whole" / "fifo")
    with pytest.raises(InputError) as mixed:
        snapshot(tmp_path / "whole", hashes, QUIET)
    assert len(mixed.value.problems) == 2 and not isinstance(mixed.value, FileNotFoundError)


def test_of_chosen_files(tmp_path: Path, hashes: HashCache) -> None:
    source = tree(tmp_path / "t", {"a": b"a", "sub/b": b"b", "c": b"c"})
    (source / "a").chmod(0o755)
    chosen = [("x/one", str(source / "a")), ("two", str(source / "sub" / "b"))]
    taken = snapshot_of(chosen, hashes, QUIET)
    assert taken.entries == (
        Entry("x/one", str(source / "a"), 1, md5(b"a"), None),
        Entry("two", str(source / "sub" / "b"), 1, md5(b"b"), None),
    )
    assert taken.content == Content(taken.content.digest, 2, 2, ("x/one",))
    assert snapshot_of([], hashes, QUIET).content.files == 0
    (source / "a").unlink()
    with pytest.raises(InputError, match="a: changed while it was being read"):
        snapshot_of(chosen, hashes, QUIET)


class TestAnUnchangedTree:
    """Of many files (here a tenth of the usual number), it is known as a whole by the stamps of all."""

    @pytest.fixture(autouse=True)
    def fewer_are_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ray_decorator.content.looking.snapshot._MANY", 100)

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(locate((tmp_path / "store").as_uri()))

    @pytest.fixture
    def many(self, tmp_path: Path) -> Path:
        return tree(tmp_path / "t", numbered(110, 8))

    def test_is_what_it_was_and_can_still_be_pushed(
        self, many: Path, tmp_path: Path, hashes: HashCache, store: Store
    ) -> None:
        (many / "0" / "0.bin").chmod(0o755)
        settle()
        first, second = snapshot(many, hashes, QUIET), snapshot(many, hashes, QUIET)
        assert (second.content, second.manifest) == (first.content, first.manifest)
        assert second.entries == tuple(entry._replace(is_unread=True) for entry in first.entries)
        fourth = snapshot(many, HashCache.in_memory(), QUIET)
        assert fourth.content == first.content
        push(second, store, hashes, QUIET)
        pull(second.content, tmp_path / "home", store, None, QUIET)
        assert read(tmp_path / "home") == read(many)

    @pytest.mark.parametrize(
        "change", ["bytes", "bytes, and the time set back", "mode", "name", "gone", "new"]
    )
    def test_shows_any_change(self, many: Path, hashes: HashCache, change: str) -> None:
        settle()
        before = snapshot(many, hashes, QUIET)
        assert snapshot(many, hashes, QUIET).content == before.content
        file = many / "1" / "1.bin"
        times = file.stat()
        if "bytes" in change:
            file.write_bytes(b"x" * times.st_size)
        if "back" in change:
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        if change == "mode":
            file.chmod(0o755)
        if change == "name":
            file.rename(many / "1" / "other")
        if change == "gone":
            file.unlink()
        if change == "new":
            (many / "1" / "other").write_bytes(b"")
        after = snapshot(many, hashes, QUIET)
        assert after.content != before.content
        assert after.content == snapshot(many, HashCache.in_memory(), QUIET).content

    def test_is_not_kept_while_it_is_fresh(self, many: Path, hashes: HashCache) -> None:
        for number in range(20):
            (many / "1" / "1.bin").write_bytes(b"%02d" % number)
            taken = snapshot(many, hashes, QUIET)
            assert dict((e.relpath, e.md5) for e in taken.entries)["1/1.bin"] == md5(b"%02d" % number)

    def test_that_changes_before_it_is_pushed(self, many: Path, hashes: HashCache, store: Store) -> None:
        settle()
        snapshot(many, hashes, QUIET)
        taken = snapshot(many, hashes, QUIET)
        (many / "1" / "1.bin").write_bytes(b"x")
        with pytest.raises(InputError, match=r"1\.bin: changed while it was being read"):
            push(taken, store, hashes, QUIET)
        assert store.head("files/md5/" + taken.content.digest[:2] + "/" + taken.content.digest[2:]) is None
