"""What a job read, another finds again as it stands; what a job changed, nobody finds."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from disks import disk

from ray_decorator.core.values.contents import Content, Extras
from ray_decorator.job.disk.checkouts import Checkouts

CONTENT = Content("0123456789abcdef0123456789abcdef.dir", 400, 400)


@pytest.fixture
def checkouts(tmp_path: Path) -> Checkouts:
    return Checkouts(tmp_path / "idle")


def make(root: Path) -> Path:
    for index in range(4):
        (root / str(index)).mkdir(parents=True)
        for name in range(100):
            file = root / str(index) / str(name)
            file.write_text("x")
            file.chmod(0o444)
    return root


def used(checkouts: Checkouts, job: Path, change: Callable[[Path], object] = lambda root: None) -> None:
    """A job puts the content down, changes it, and is done."""
    root = make(job / "data")
    [(_, _, sealed)] = checkouts.made([(CONTENT, root)])
    change(root)
    checkouts.give(CONTENT, root, sealed)
    assert not root.exists()


def test_an_unchanged_checkout_is_taken_again_and_by_one_job_alone(
    checkouts: Checkouts, tmp_path: Path
) -> None:
    used(checkouts, tmp_path / "job1")
    (tmp_path / "job2").mkdir()
    sealed = checkouts.take(CONTENT, tmp_path / "job2" / "other name")
    assert sealed is not None
    assert len(list((tmp_path / "job2" / "other name").rglob("*"))) == 404
    assert checkouts.take(CONTENT, tmp_path / "job3") is None
    checkouts.give(CONTENT, tmp_path / "job2" / "other name", sealed)
    assert checkouts.take(CONTENT, tmp_path / "job3") == sealed


def test_no_more_are_kept_than_jobs_can_run_side_by_side(
    checkouts: Checkouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray_decorator.job.disk.checkouts._KEPT", 2)
    roots = [make(tmp_path / f"job{number}" / "data") for number in range(3)]
    made = checkouts.made([(CONTENT, root) for root in roots])
    for content, root, sealed in made:
        checkouts.give(content, root, sealed)
    assert [root.exists() for root in roots] == [False, False, True], "which goes with its job"
    assert [checkouts.take(CONTENT, tmp_path / f"next{n}") is not None for n in range(3)] == [
        True,
        True,
        False,
    ]


def write_with_the_old_time(root: Path) -> None:
    file = root / "1" / "7"
    before = file.stat()
    file.chmod(0o644)
    file.write_text("y")  # as long as it was
    file.chmod(0o444)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: list[Callable[[Path], object]] = [
    lambda root: (root / "new").write_text("x"),
    lambda root: (root / "new").mkdir(),
    lambda root: (root / "1" / "7").unlink(),
    lambda root: (root / "1" / "7").rename(root / "1" / "seven"),
    lambda root: (root / "1" / "7").chmod(0o644),
    lambda root: (root / "1").chmod(0o500),
    lambda root: root.chmod(0o500),
    write_with_the_old_time,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_checkout_is_thrown_away(
    checkouts: Checkouts, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    used(checkouts, tmp_path / "job1", change)
    assert checkouts.take(CONTENT, tmp_path / "job2") is None
    assert not (tmp_path / "job2").exists()
    assert [path for path in (tmp_path / "idle").rglob("*") if path.is_file()] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount, or write to what is read-only")
class TestRoot:
    def test_on_a_file_system_in_memory_none_is_kept(self, tmp_path: Path) -> None:
        with disk(tmp_path / "memory", "size=16m") as memory:
            idle = Checkouts(memory.path / "idle")
            assert idle.made([(CONTENT, make(memory.path / "job1"))]) == []
            assert idle.take(CONTENT, memory.path / "job2") is None

    def test_one_that_is_still_open_for_writing_is_thrown_away(
        self, checkouts: Checkouts, tmp_path: Path
    ) -> None:
        root = make(tmp_path / "job1" / "data")
        [(_, _, sealed)] = checkouts.made([(CONTENT, root)])
        with open(root / "1" / "7", "r+b"):
            checkouts.give(CONTENT, root, sealed)
            assert checkouts.take(CONTENT, tmp_path / "job2") is None


@pytest.mark.parametrize(
    "other",
    [
        Content("f" * 32 + ".dir", 400, 400),
        replace(CONTENT, executables=("1/7",)),
        replace(CONTENT, extras=Extras(private=(("1/7", 0o077),))),
        replace(CONTENT, extras=Extras(folders=("empty",))),
        replace(CONTENT, extras=Extras(links=(("latest", "1"),))),
    ],
    ids=["digest", "executables", "private", "folders", "links"],
)
def test_another_content_is_another_checkout(checkouts: Checkouts, tmp_path: Path, other: Content) -> None:
    used(checkouts, tmp_path / "job1")
    assert checkouts.take(other, tmp_path / "job2") is None
    assert checkouts.take(CONTENT, tmp_path / "job2") is not None


def test_few_files_are_not_worth_it(checkouts: Checkouts, tmp_path: Path) -> None:
    few = Content(CONTENT.digest, 4, 4)
    assert checkouts.made([(few, make(tmp_path / "job"))]) == []
    assert checkouts.take(few, tmp_path / "job2") is None


def test_what_nobody_has_used_for_long_goes(checkouts: Checkouts, tmp_path: Path) -> None:
    used(checkouts, tmp_path / "job1")
    [folder] = (tmp_path / "idle").iterdir()
    os.utime(folder, (0, 0))
    other = Content("f" * 32 + ".dir", 400, 400)
    root = make(tmp_path / "job2")
    [(_, _, sealed)] = checkouts.made([(other, root)])
    checkouts.give(other, root, sealed)
    assert not folder.exists()
    assert checkouts.take(other, tmp_path / "job3") == sealed
