"""Files that a job wrote on the driver's machine: moved into what stands at home, without a byte read."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from quota_disk import quota_disk
from trees import read, tree
from whole_trees import TREES, build, described

from ray_decorator.content.placing import move as module
from ray_decorator.content.placing.move import copy, free_name_beside, move, move_all, move_aside
from ray_decorator.core.errors import InputError


def test_a_file_is_renamed(tmp_path: Path) -> None:
    source = tmp_path / "scratch.pkl"
    source.write_bytes(b"model")
    inode = source.stat().st_ino
    move(source, tmp_path / "new" / "model.pkl")
    assert (tmp_path / "new" / "model.pkl").read_bytes() == b"model"
    assert (tmp_path / "new" / "model.pkl").stat().st_ino == inode
    assert not source.exists()


def test_a_directory_merges_file_by_file_and_deletes_nothing(tmp_path: Path) -> None:
    home = tree(tmp_path / "home", {"kept": b"1", "sub/replaced": b"old"})
    source = tree(tmp_path / "scratch", {"sub/replaced": b"new", "sub/deep/er": b"x", ".git/config": b"no"})
    move(source, home)
    assert read(home) == {"kept": b"1", "sub/replaced": b"new", "sub/deep/er": b"x"}


def test_modes_and_times_stay(tmp_path: Path) -> None:
    source = tmp_path / "run.sh"
    source.write_bytes(b"#!/bin/sh")
    source.chmod(0o700)
    os.utime(source, ns=(1, 1_000_000_000))
    move(source, tmp_path / "home.sh")
    status = (tmp_path / "home.sh").stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o700, 1_000_000_000)


def test_what_is_in_the_way_is_named_and_nothing_is_changed(tmp_path: Path) -> None:
    home = tree(tmp_path / "home", {"a": b"old", "b/in the way": b"x"})
    source = tree(tmp_path / "scratch", {"a": b"new", "b": b"a file"})
    with pytest.raises(InputError, match=r"home/b: is a directory, and a file is to be written there"):
        move(source, home)
    assert (home / "a").read_bytes() == b"old"
    assert move_aside(source, home) == tmp_path / "home.ray_s3"
    assert read(tmp_path / "home.ray_s3") == {"a": b"new", "b": b"a file"}


def test_a_name_beside_is_free(tmp_path: Path) -> None:
    (tmp_path / "m.ray_s3").symlink_to("nowhere")
    assert free_name_beside(tmp_path / "m") == tmp_path / "m.ray_s3-1"


def test_a_link_of_dvcs_stays_where_its_bytes_are_right_and_is_replaced_where_not(tmp_path: Path) -> None:
    cache = tree(tmp_path / "cache", {"same": b"same", "other": b"old"})
    home = tree(tmp_path / "home", {})
    for name in ("same", "other"):
        (cache / name).chmod(0o444)
        (home / name).symlink_to(cache / name)
    move(tree(tmp_path / "scratch", {"same": b"same", "other": b"new"}), home)
    assert (home / "same").is_symlink() and (cache / "other").read_bytes() == b"old"
    assert not (home / "other").is_symlink() and (home / "other").read_bytes() == b"new"


def test_what_a_job_reached_through_a_link_stays_where_it_is(tmp_path: Path) -> None:
    elsewhere = tree(tmp_path / "elsewhere", {"data": b"precious"})
    source = tree(tmp_path / "scratch", {"own": b"1"})
    (source / "linked").symlink_to(elsewhere / "data")
    move(source, tmp_path / "home")
    assert read(tmp_path / "home") == {"own": b"1", "linked": b"precious"}
    (tmp_path / "whole").symlink_to(elsewhere)
    move(tmp_path / "whole", tmp_path / "home2")
    assert read(tmp_path / "home2") == {"data": b"precious"} == read(elsewhere)


def test_across_file_systems_it_is_copied(tmp_path: Path) -> None:
    other = Path("/dev/shm") / f"ray_s3_test_{os.getpid()}"
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system here")
    try:
        source = tree(other, {"a": b"1", "b/c": b"2"})
        (source / "a").chmod(0o755)
        move(source, tmp_path / "home")
        assert read(tmp_path / "home") == {"a": b"1", "b/c": b"2"}
        assert os.access(tmp_path / "home" / "a", os.X_OK)
    finally:
        for path in sorted(other.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        other.rmdir()


def test_a_copy_that_fails_leaves_nothing_beside_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tree(tmp_path / "scratch", {"b": b"2"})
    (source / "link").symlink_to(tree(tmp_path / "elsewhere", {"a": b"1"}) / "a")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "copy_file", fail)
    with pytest.raises(OSError, match="No space left"):
        move(source, tmp_path / "home")
    assert not [path for path in (tmp_path / "home").iterdir() if path.name.startswith(".")]


def test_a_copy_for_a_job_is_its_own_and_writable(tmp_path: Path) -> None:
    source = tree(tmp_path / "dep", {"a": b"1", "sub/b": b"2"})
    (source / "a").chmod(0o444)
    copy(source, tmp_path / "scratch")
    assert read(tmp_path / "scratch") == {"a": b"1", "sub/b": b"2"}
    assert (tmp_path / "scratch" / "a").stat().st_mode & 0o200
    (tmp_path / "scratch" / "a").write_bytes(b"changed")
    assert (source / "a").read_bytes() == b"1"
    copy(source / "a", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"1"


@pytest.mark.parametrize("count", [1, 2, 30])
def test_links_to_siblings_and_to_other_outs_bring_their_bytes(tmp_path: Path, count: int) -> None:
    first = tree(tmp_path / "first", {f"epoch{n}.ckpt": b"%d" % n for n in range(count)})
    second = tree(tmp_path / "second", {"own": b"x"})
    (first / "last.ckpt").symlink_to("epoch0.ckpt")
    (first / "a-first.ckpt").symlink_to(first / f"epoch{count - 1}.ckpt")
    (second / "best.ckpt").symlink_to(first / "epoch0.ckpt")
    assert move_all([(first, tmp_path / "home1"), (second, tmp_path / "home2")]) == [None, None]
    here = read(tmp_path / "home1")
    assert (
        here["last.ckpt"] == b"0" and here["a-first.ckpt"] == b"%d" % (count - 1) and len(here) == count + 2
    )
    assert read(tmp_path / "home2") == {"own": b"x", "best.ckpt": b"0"}


def test_what_goes_wrong_with_one_keeps_none_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_bytes(b"a file")
    bad, good = tree(tmp_path / "bad", {"a": b"1"}), tree(tmp_path / "good", {"b": b"2"})
    errors = move_all([(bad, tmp_path / "in the way"), (good, tmp_path / "home")])
    assert isinstance(errors[0], InputError) and errors[1] is None
    assert read(tmp_path / "home") == {"b": b"2"} and read(bad) == {"a": b"1"}


def test_copies_that_a_job_left_alone_stay_and_what_changed_at_home_meanwhile_too(tmp_path: Path) -> None:
    home = tree(tmp_path / "home", {"kept": b"1", "changed": b"2"})
    stamps = copy(home, tmp_path / "scratch")
    (tmp_path / "scratch" / "changed").write_bytes(b"by the job")
    (home / "kept").write_bytes(b"by the user")
    assert move_all([(tmp_path / "scratch", home)], stamps) == [None]
    assert read(home) == {"kept": b"by the user", "changed": b"by the job"}


@pytest.mark.parametrize("name", TREES)
def test_a_whole_tree_moves_and_is_copied_as_it_was(tmp_path: Path, name: str) -> None:
    source = build(tmp_path / "scratch", TREES[name])
    expected = described(source)
    copies = copy(source, tmp_path / "copy")
    assert described(tmp_path / "copy") == expected
    move_all([(tmp_path / "copy", source)], copies)  # nothing has been touched
    assert described(source) == expected
    move(source, tmp_path / "new" / "home")
    assert described(tmp_path / "new" / "home") == expected


def test_a_file_takes_no_more_open_mode_to_a_private_ones_place(tmp_path: Path) -> None:
    home = build(tmp_path / "home", {"f": (b"old", 0o600)})
    move(build(tmp_path / "scratch", {"f": b"new"}), home)
    assert described(home) == {"f": ("file", "0o0", b"new")}


def test_a_file_that_was_not_touched_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "home").write_bytes(b"model")
    copies = copy(tmp_path / "home", tmp_path / "scratch")
    assert move_all([(tmp_path / "scratch", tmp_path / "home")], copies) == [None]
    assert (tmp_path / "home").read_bytes() == b"model"


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EROFS], ids=errno.errorcode.get)
def test_where_home_takes_the_bytes_and_no_new_name_what_the_job_wrote_stays(
    tmp_path: Path, number: int
) -> None:
    (tmp_path / "f").write_bytes(b"made")
    with quota_disk(tmp_path / "home", number, takes_bytes=True) as home:
        [error] = move_all([(tmp_path / "f", home / "f")])
        assert isinstance(error, OSError) and error.errno == number
        assert (tmp_path / "f").read_bytes() == b"made" and os.listdir(home) == []
