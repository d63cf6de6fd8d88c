"""Which of the user's own files travel to a cluster: real projects, with the real git where there is one."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest
from projects import (
    collected,
    editable,
    make,
    names,
    write,
)

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.looking.snapshot import snapshot_of
from ray_decorator.core.errors import InputError
from ray_decorator.core.progress import NoProgress, Phase
from ray_decorator.environment.installed import Local
from ray_decorator.project.collect import Project, describe
from ray_decorator.store.identity import locate
from ray_decorator.store.store import open_store
from ray_decorator.store.transfer import pull, push


class Hashed(NoProgress):
    """A Progress that counts the files hashed."""

    def __init__(self) -> None:
        self.files = 0

    def expect(self, phase: Phase, items: int, size: int = 0) -> None:
        self.files += items if phase == "hashing" else 0

    def advance(self, phase: Phase, items: int, size: int = 0) -> None:
        return None


def test_editable_install_by_path(tmp_path: Path) -> None:
    make(tmp_path / "app", "train.py")
    lib = make(tmp_path / "lib", "pyproject.toml", "src/lib/__init__.py")
    project = collected(
        tmp_path / "app/train.py", sys_path=[tmp_path / "app", lib / "src"], local=[editable(lib)]
    )
    assert names(project) == ["0/train.py", "1/pyproject.toml", "1/src/lib/__init__.py"]
    assert project.sys_path == ("0", "1/src")


def test_editable_install_by_finder(tmp_path: Path) -> None:
    make(tmp_path / "app", "train.py")
    lib = make(tmp_path / "lib", "pyproject.toml", "python/core/__init__.py", "one.py")
    elsewhere = make(tmp_path / "elsewhere", "part/__init__.py", "part/a.py", "not_this.py", "single.py")
    dist = editable(
        lib,
        core=lib / "python/core",
        one=lib / "one.py",
        part=elsewhere / "part",
        single=elsewhere / "single.py",
    )
    project = collected(tmp_path / "app/train.py", local=[dist])
    assert project.packages == {
        "core": "1/python/core",
        "one": "1/one.py",
        "part": "2",
        "single": "site/single.py",
    }
    assert names(project)[1:] == [
        "1/one.py",
        "1/pyproject.toml",
        "1/python/core/__init__.py",
        "2/__init__.py",
        "2/a.py",
        "site/single.py",
    ]


def test_files_of_local_distributions_stand_last_on_the_path(tmp_path: Path) -> None:
    make(tmp_path / "app", "train.py")
    site = make(tmp_path / "site", "dist/__init__.py", "dist-1.0.dist-info/METADATA", "bin/run", "d.pyc")
    files = [(str(path.relative_to(site)), path) for path in sorted(site.rglob("*")) if path.is_file()]
    files = [("../../" + name if name.startswith("bin") else name, path) for name, path in files]
    dist = Local("dist", "1.0", False, None, (*files, ("dist/gone.py", site / "dist/gone.py")))
    project = collected(tmp_path / "app/train.py", local=[dist])
    assert names(project) == ["0/train.py", "site/dist-1.0.dist-info/METADATA", "site/dist/__init__.py"]
    assert project.sys_path == ("0", "site")


def test_describe_names_the_largest(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "train.py", "sub/small.txt")
    (root / "sub/big.bin").write_bytes(bytes(5000))
    project = collected(root / "train.py")
    assert describe(project, 2) == [("sub/big.bin", 5000), ("sub/small.txt", 16)]
    make(tmp_path / "lib", "lib.py")
    two = collected(root / "train.py", sys_path=[root, tmp_path / "lib"])
    assert describe(two, 1) == [(str(root / "sub/big.bin"), 5000)]


def test_a_large_tree_is_said_with_the_cure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make(tmp_path / "app", "train.py")
    for name, size in (("film.mp4", 210_000_000), ("b.bin", 2_000_000), ("c.bin", 1_000_000)):
        with open(root / name, "wb") as file:
            file.truncate(size)
    with caplog.at_level(logging.WARNING):
        collected(root / "train.py")
    assert [record.getMessage() for record in caplog.records] == [
        "4 files of 213 MB travel to the cluster as the project's code; the largest: film.mp4 (210.0 MB), "
        "b.bin (2.0 MB), c.bin (1.0 MB). Add what is no code to .gitignore, or send none: code: none."
    ]
    caplog.clear()
    write(root / ".gitignore", "*.mp4")
    collected(root / "train.py")
    assert not caplog.records


def aged(project: Project) -> None:
    """Their stamps tell a later change: the clock has ticked since."""
    time.sleep(0.15)


def test_the_second_snapshot_hashes_nothing_and_a_changed_file_changes_one_entry(
    tmp_path: Path, hashes: HashCache
) -> None:
    root = make(tmp_path / "app", "train.py", "pkg/a.py", "pkg/b.py")
    make(tmp_path / "lib", "lib.py", "nested/x.py")
    project = collected(root / "train.py", sys_path=[root, tmp_path / "lib"])
    aged(project)
    counts = []
    for _ in range(2):
        counted = Hashed()
        first = snapshot_of(project.files, hashes, counted)
        counts.append(counted.files)
    assert counts == [5, 0]
    assert [entry.relpath for entry in first.entries] == names(project)
    (root / "pkg/a.py").write_text("changed")
    counted = Hashed()
    second = snapshot_of(project.files, hashes, counted)
    assert counted.files == 1
    assert second.content.digest != first.content.digest
    differing = [a.relpath for a, b in zip(first.entries, second.entries, strict=True) if a.md5 != b.md5]
    assert differing == ["0/pkg/a.py"]


@pytest.mark.parametrize("count", [0, 1])
def test_a_selection_is_a_tree_however_small(tmp_path: Path, hashes: HashCache, count: int) -> None:
    make(tmp_path / "app", "train.py")
    files = [("0/train.py", str(tmp_path / "app/train.py"))][:count]
    taken = snapshot_of(files, hashes, NoProgress())
    assert taken.content.is_tree and taken.manifest is not None
    assert taken.content.files == count


def test_the_tree_comes_out_of_a_store_as_it_went_in(tmp_path: Path, hashes: HashCache) -> None:
    root = make(tmp_path / "app", "train.py", "run.sh", "ü/日本 語.txt")
    (root / "run.sh").chmod(0o755)
    (root / "pkg").mkdir()
    (root / "pkg/empty.py").touch()
    (root / "link.py").symlink_to("train.py")
    make(tmp_path / "lib", "lib.py")
    project = collected(root / "train.py", sys_path=[root, tmp_path / "lib"])
    taken = snapshot_of(project.files, hashes, NoProgress())
    assert taken.content.executables == ("0/run.sh",)
    assert taken.content.size == project.size
    store = open_store(locate((tmp_path / "store").as_uri()))
    assert push(taken, store, hashes, NoProgress()) > 0
    assert push(taken, store, hashes, NoProgress()) == 0
    pull(taken.content, tmp_path / "there", store, None, NoProgress())
    there = tmp_path / "there"
    found = {str(path.relative_to(there)): path for path in there.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == {
        name: Path(path).read_bytes() for name, path in project.files
    }
    assert os.access(found["0/run.sh"], os.X_OK) and not found["0/train.py"].stat().st_mode & 0o111


def test_files_that_vanish_or_are_none_any_more_are_all_named(tmp_path: Path, hashes: HashCache) -> None:
    root = make(tmp_path / "app", "train.py", "gone.py", "other.py")
    project = collected(root / "train.py")
    (root / "gone.py").unlink()
    (root / "other.py").unlink()
    (root / "other.py").mkdir()
    with pytest.raises(InputError) as caught:
        snapshot_of(project.files, hashes, NoProgress())
    assert caught.value.problems == tuple(
        f"{root / name}: changed while it was being read; run again when nothing writes to it"
        for name in ("gone.py", "other.py")
    )
