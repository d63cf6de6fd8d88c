"""What the real dvc has put in place is known without reading, where that is sure; reads are counted."""

from __future__ import annotations

import contextlib
import os
import shutil
from hashlib import md5
from pathlib import Path

import dvc_repositories
import pytest
from dvc_repositories import Dvc
from trees import Tally, settle, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.looking.look import look
from ray_decorator.content.looking.snapshot import Snapshot, snapshot
from ray_decorator.dvc.tracked import cache as cache_module
from ray_decorator.dvc.tracked.cache import Cache
from ray_decorator.dvc.tracked.hashed import HashedFiles
from ray_decorator.dvc.tracked.outputs import Outputs

FILES = {"a": b"1", "sub/b": b"22", "sub/c": b"333"}
ALL, NONE = len(FILES), 0


@pytest.fixture(autouse=True)
def folders_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache's folders are asked, as where there are thousands of files."""
    monkeypatch.setattr(cache_module, "_MANY", 1)


def taken(path: Path, hashes: HashCache | None = None) -> tuple[Snapshot, int]:
    """What is at the path, and how many of its files were read."""
    tally = Tally()
    known = HashedFiles.at(path, Outputs())
    found = snapshot(path, hashes or HashCache.in_memory(), tally, known=known)
    return found, tally.done.get("hashing", [0])[0]


def linked(dvc: Dvc, root: Path, kind: str, cache: Path | None = None) -> Path:
    where = "" if cache is None else f"dir = {cache}\n"
    (root / ".dvc" / "config").write_text(f"[core]\nno_scm = true\n[cache]\ntype = {kind}\n{where}")
    tree(root / "data", FILES)
    (root / "single").write_bytes(b"single")
    with contextlib.chdir(root), dvc.repo() as repo:
        repo.add(["data", "single"])
    for folder in Path(Cache(str(root)).path, "files", "md5").iterdir():
        os.utime(folder, (0, 0))  # so long ago that no object in it has come meanwhile
    return root / "data"


def test_a_copy_of_an_object_is_read_and_a_link_to_it_is_not(root: Path) -> None:
    tree(root / "data", FILES)
    dvc_repositories.add(root, "data")
    cache = Cache(str(root))
    assert taken(root / "data")[1] == ALL
    for name, data in FILES.items():
        (root / "data" / name).unlink()
        (root / "data" / name).hardlink_to(cache.file_of(md5(data).hexdigest()))
    assert taken(root / "data")[1] == NONE
    (root / "data" / "a").chmod(0o644)
    assert taken(root / "data")[1] == 1


@pytest.mark.parametrize(("kind", "reads"), [("symlink", NONE), ("hardlink", NONE), ("copy", ALL)])
@pytest.mark.parametrize("place", ["in the repository", "elsewhere", "behind a link"])
def test_links_into_the_cache_are_not_read(
    dvc: Dvc, root: Path, tmp_path: Path, kind: str, reads: int, place: str
) -> None:
    cache = None if place == "in the repository" else tmp_path / "cache"
    if place == "behind a link":
        (tmp_path / "disk").mkdir()
        (tmp_path / "cache").symlink_to("disk")
    data = linked(dvc, root, kind, cache)
    found, read = taken(data)
    assert (found.content.digest, read) == (dvc.digest_of(root, data), reads)
    # a single file, a folder and a file inside, and the folder around it all
    assert taken(root / "single")[1] == (1 if reads else 0)
    assert taken(data / "sub")[1] == (2 if reads else 0)
    assert taken(data / "sub" / "b")[1] == (1 if reads else 0)
    known = HashedFiles.at(root, Outputs())
    assert known is not None
    found = look(str(root), root).found
    files = {
        path: found.stamps[path] for path in map(str, [*(data / name for name in FILES), root / "single"])
    }
    assert known(found)(files).keys() == (set() if reads else files.keys())


def test_a_repository_behind_a_link(dvc: Dvc, root: Path, tmp_path: Path) -> None:
    """The path is as the user names it; its files are at another one."""
    data = linked(dvc, root, "hardlink")
    (tmp_path / "alias").symlink_to(root)
    assert taken(tmp_path / "alias" / "data")[1] == NONE
    assert taken(tmp_path / "alias" / "single")[1] == NONE
    for folder in Path(Cache(str(root)).path, "files", "md5").iterdir():
        os.utime(folder)  # it does not tell since when: each object is asked
    assert taken(data)[1] == NONE


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
@pytest.mark.parametrize(
    "why", ["writable", "not the object", "not tracked", "no repository", "manifest spoilt"]
)
def test_what_is_not_sure_is_read(dvc: Dvc, root: Path, tmp_path: Path, kind: str, why: str) -> None:
    data = linked(dvc, root, kind)
    right = dvc.digest_of(root, data)
    if why == "writable":
        (data / "sub" / "b").chmod(0o644)
        assert taken(data)[1] == 1
    if why == "not the object":
        other = tmp_path / "other"
        other.write_bytes(b"22")
        other.chmod(0o444)
        (data / "sub" / "b").unlink()
        if kind == "hardlink":
            (data / "sub" / "b").hardlink_to(other)
        else:
            (data / "sub" / "b").symlink_to(other)
        assert taken(data)[1] == 1
    if why == "not tracked":
        (root / "data.dvc").unlink()
        assert taken(data)[1] == (NONE if kind == "symlink" else ALL)
    if why == "no repository":
        data.rename(tmp_path / "data")
        data = tmp_path / "data"
        assert taken(data)[1] == ALL
    if why == "manifest spoilt":
        manifest = root / ".dvc" / "cache" / "files" / "md5" / right[:2] / right[2:]
        manifest.chmod(0o644)
        manifest.write_bytes(b"[]")
        assert taken(data)[1] == (NONE if kind == "symlink" else ALL)
    assert taken(data)[0].content.digest == right


def test_a_tracked_file_that_was_edited_is_read(dvc: Dvc, root: Path) -> None:
    data = linked(dvc, root, "hardlink")
    with contextlib.chdir(root), dvc.repo() as repo:
        repo.unprotect("data")
    (data / "a").write_bytes(b"edited")
    found, read = taken(data)
    assert (found.content.digest, read) == (dvc.digest_of(root, data), ALL)


@pytest.mark.parametrize(("kind", "reads"), [("symlink", NONE), ("hardlink", NONE)])
def test_another_workspace_of_the_same_cache_reads_nothing(
    dvc: Dvc, root: Path, tmp_path: Path, hashes: HashCache, kind: str, reads: int
) -> None:
    """As `dvc exp run --queue` makes them: the same files of DVC's, another directory, new links."""
    linked(dvc, root, kind, tmp_path / "cache")
    settle()
    first = taken(root / "data", hashes)[0]
    other = tmp_path / "other"
    shutil.copytree(root, other, ignore=shutil.ignore_patterns("data", "single", "tmp"))
    with contextlib.chdir(other), dvc.repo() as repo:
        repo.checkout()
    assert os.path.islink(other / "data" / "a") == (kind == "symlink")
    found, read = taken(other / "data", hashes)
    assert (found.content, read) == (first.content, reads)
