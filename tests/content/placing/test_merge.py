"""Where files go at home, beside what is there already: nothing is lost, and nothing leads out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from trees import QUIET, read, sent, tree

from ray_decorator.content.hashes.hash_cache import HashCache, Stamp
from ray_decorator.content.manifest import Row
from ray_decorator.content.placing.merge import Target, plan
from ray_decorator.core.errors import InputError
from ray_decorator.store.store import Store
from ray_decorator.store.transfer import pull


def test_a_plan_changes_nothing(tmp_path: Path) -> None:
    home = tree(tmp_path / "home", {"sub/old": b"old"})
    rows = [Row("new/a", "1"), Row("sub/old", "2"), Row("sub/b", "3")]
    planned = plan(home, rows)
    assert planned.root == str(home)
    assert planned.folders == (f"{home}/new",)
    assert planned.targets == (
        Target(rows[0], f"{home}/new/a", None),
        Target(rows[1], f"{home}/sub/old", Stamp.of((home / "sub" / "old").stat())),
        Target(rows[2], f"{home}/sub/b", None),
    )
    assert read(home) == {"sub/old": b"old"}


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
