"""DVC's cache: where the real dvc puts objects, there they are found."""

from __future__ import annotations

import os
import time
from pathlib import Path

import dvc_repositories
import pytest
from dvc_repositories import Dvc
from trees import tree

from ray_decorator.dvc.tracked import cache as cache_module
from ray_decorator.dvc.tracked.cache import Cache


def test_objects_are_found_where_dvc_put_them(dvc: Dvc, tmp_path: Path) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    tree(root / "data", {"a": b"1", "sub/b": b"2"})
    assert Cache(str(root)).rows("0" * 32 + ".dir") is None
    dvc(root, "add", "data")
    digest = dvc.digest_of(root, root / "data")
    rows = Cache(str(root)).rows(digest)
    assert rows is not None
    found = {row.relpath: Path(Cache(str(root)).file_of(row.md5)).read_bytes() for row in rows}
    assert found == {"a": b"1", "sub/b": b"2"}


def test_the_cache_may_be_elsewhere(dvc: Dvc, tmp_path: Path) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    assert Cache(str(root)).path == str(root / ".dvc" / "cache")
    dvc(root, "cache", "dir", str(tmp_path / "shared"))
    assert Cache(str(root)).path == str(tmp_path / "shared")


def test_folders_tell_the_inodes_of_objects_that_were_there_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_MANY", 2)
    root, now = dvc_repositories.init(tmp_path / "repository"), time.time_ns()
    cache = Cache(str(root))
    assert cache.inodes(2, now) == (0, {})  # there is none
    for md5 in ("a" * 32, "b" * 32, "b" + "c" * 31):
        file = Path(cache.file_of(md5))
        tree(file.parent, {file.name: md5.encode()})
        os.utime(file.parent, ns=(0, now - 10**9))
    device, inodes = cache.inodes(2, now)
    assert device == root.stat().st_dev
    assert inodes == {
        md5: Path(cache.file_of(md5)).stat().st_ino for md5 in ("a" * 32, "b" * 32, "b" + "c" * 31)
    }
    assert cache.inodes(1, now)[1] == {}
    os.utime(Path(cache.file_of("a" * 32)).parent, ns=(0, now))
    assert cache.inodes(2, now)[1].keys() == inodes.keys() - {"a" * 32}


@pytest.fixture(scope="module")
def added(dvc: Dvc, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = dvc_repositories.init(tmp_path_factory.mktemp("added"))
    (root / "data").write_bytes(b"1")
    with dvc.repo(str(root)) as repo:
        repo.add(str(root / "data"))
    return root


@pytest.mark.parametrize(
    "kinds",
    [
        "symlink",
        "reflink,symlink",
        "reflink , hardlink,symlink",
        "hardlink,symlink",
        "reflink,copy,symlink",
        "copy",
    ],
)
def test_what_dvc_would_link_with(dvc: Dvc, added: Path, kinds: str) -> None:
    """DVC takes the first that works where the cache is."""
    (added / ".dvc" / "config").write_text(f"[core]\nno_scm = true\n[cache]\ntype = '{kinds}'\n")
    with dvc.repo(str(added)) as repo:
        repo.checkout(relink=True, force=True)
    assert Cache(str(added)).links_by_symlink == (added / "data").is_symlink()
