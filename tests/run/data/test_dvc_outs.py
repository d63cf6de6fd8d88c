"""Outs that come home are ready for the real dvc: it copies nothing that it need not, and has nothing to push."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from pathlib import Path

import dvc_repositories
import pytest
from dvc_objects.errors import ObjectFormatError
from dvc_repositories import Dvc
from trees import QUIET, read, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.manifest import Row, object_key
from ray_decorator.content.placing.reflink import works_in
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.model import PathSlot
from ray_decorator.run.data.dvc_outs import DvcOuts
from ray_decorator.run.data.staging import Staging
from ray_decorator.store.transfer import Snapshot

FILES = {"a": b"1", "sub/b": b"22", "sub/c": b"22", "logs/x.tmp": b"ignored", ".env": b"ignored too"}
STAGE = "stages:\n  train:\n    cmd: {cmd}\n    outs: [model, single, metrics: {{cache: false}}]\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = dvc_repositories.init(tmp_path / "repository")
    (root / "dvc.yaml").write_text(STAGE.format(cmd="'true'"))
    monkeypatch.chdir(root)
    return root


def configure(root: Path, kind: str) -> None:
    (root / ".dvc" / "config").write_text(
        f"[core]\nno_scm = true\nremote = store\n[cache]\ntype = {kind}\n"
        "['remote \"store\"']\nurl = ../../store\n"
    )


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging((tmp_path / "store").as_uri(), "driver")


def brought_home(staging: Staging, tmp_path: Path, home: Path, files: dict[str, bytes] | bytes) -> None:
    """What a job wrote on another machine, with all that is in it."""
    source = tmp_path / "node" / home.name
    source.parent.mkdir(exist_ok=True)
    if isinstance(files, bytes):
        source.write_bytes(files)
    else:
        tree(source, files)
    slot = PathSlot.at((0,), "out", source)
    taken = staging.hash([slot], QUIET)[slot.real]
    assert isinstance(taken, Snapshot)
    staging.push([taken], QUIET)
    [pulled] = staging.pull_all([(taken.content, home)], QUIET)
    assert pulled.error is None


def commit(dvc: Dvc, root: Path) -> None:
    with dvc.repo(str(root)) as repo:
        repo.commit(force=True)


@pytest.mark.parametrize("kind", ["symlink", "reflink,symlink", "hardlink", "copy"])
@pytest.mark.parametrize("tracked", ["by the stage that runs", "by dvc.lock", "by nothing"])
def test_commit_copies_nothing_that_it_need_not(
    dvc: Dvc,
    root: Path,
    staging: Staging,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    tracked: str,
) -> None:
    configure(root, kind)
    leaves_copies = kind.startswith("reflink")  # what dvc has to copy into its cache is not linked then
    if kind == "reflink,symlink":
        kind = "copy" if works_in(str(root)) else "symlink"
    if tracked == "by the stage that runs":
        monkeypatch.setenv("DVC_STAGE", "train")
    if tracked == "by dvc.lock":
        for name in ("model", "single", "metrics"):
            (root / name).write_bytes(b"earlier")
        commit(dvc, root)
        for name in ("model", "single", "metrics"):
            (root / name).unlink()
    for name in ("model", "single", "metrics"):
        brought_home(staging, tmp_path, root / name, FILES if name == "model" else name.encode())
    before = {
        path: path.stat().st_ino for path in root.rglob("*") if path.is_file() and not path.is_symlink()
    }
    assert all(not path.is_symlink() and path.stat().st_mode & 0o200 for path in (root / "model").rglob("*"))
    monkeypatch.delenv("DVC_STAGE", raising=False)
    commit(dvc, root)
    assert read(root / "model") == FILES and (root / "single").read_bytes() == b"single"
    cache = root / ".dvc" / "cache" / "files" / "md5"
    new = [path for path in cache.rglob("*") if path.is_file() and path.read_bytes() != b"earlier"]
    objects = {path.stat().st_ino for path in new if path.suffix != ".dir"}
    landed = {before[root / "model" / name] for name in FILES} | {before[root / "single"]}
    copied = kind == "copy" or (kind == "symlink" and tracked == "by nothing")
    copied |= kind == "hardlink" and works_in(str(root))  # DVC clones into its cache then
    assert objects.isdisjoint(landed) if copied else objects < landed
    assert before[root / "metrics"] not in objects
    assert (root / "model" / "a").is_symlink() == (kind == "symlink" and not (copied and leaves_copies))


def test_an_edit_before_the_commit_spoils_nothing(
    dvc: Dvc, root: Path, staging: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(root, "symlink")
    monkeypatch.setenv("DVC_STAGE", "train")
    for name in ("model", "single", "metrics"):
        brought_home(staging, tmp_path, root / name, FILES if name == "model" else name.encode())
    (root / "model" / "a").write_bytes(b"edited")
    commit(dvc, root)
    assert (root / "model" / "a").read_bytes() == b"edited"
    with dvc.repo(str(root)) as repo:
        old = hashlib.md5(FILES["a"]).hexdigest()
        with pytest.raises(ObjectFormatError):  # it is writable, so DVC looks
            repo.cache.local.check(old)
        assert dvc.digest_of(root, root / "model" / "a") in repo.cache.local.all()


def test_a_shared_cache_stays_the_groups(
    dvc: Dvc, root: Path, staging: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others of the group put objects into the folders that we make, as into DVC's own."""
    monkeypatch.setenv("DVC_STAGE", "train")
    modes: list[set[int]] = []
    for cache in ("theirs", "ours"):
        configure(root, f"symlink\nshared = group\ndir = {tmp_path / cache}")
        if cache == "ours":
            brought_home(staging, tmp_path, root / "model", FILES)
        else:
            tree(root / "model", FILES)
            for name in ("single", "metrics"):
                (root / name).write_bytes(b"1")
            commit(dvc, root)
        folders = [tmp_path / cache, *(tmp_path / cache / "files" / "md5").rglob("??")]
        modes.append({folder.stat().st_mode for folder in folders if folder.is_dir()})
        shutil.rmtree(root / "model")
    assert modes[0] == modes[1] and len(modes[0]) == 1


def test_what_is_no_out_of_dvcs_is_left_alone(
    root: Path, staging: Staging, tmp_path: Path, hashes: HashCache
) -> None:
    """A job's own directory, and what is in no repository."""
    configure(root, "symlink")
    for home, area in ((root / "model", "directories"), (tmp_path / "model", "")):
        tree(home, {"a": b"1"})
        rows = [Row("a", hashlib.md5(b"1").hexdigest())]
        DvcOuts().make_ready(Content("0" * 32 + ".dir", 1, 1, area=area), rows, home, staging.open(), hashes)
    assert read(tmp_path / "store") == {} and not (root / ".dvc" / "cache" / "files").exists()


def test_what_a_dvcignore_names_comes_home_and_dvc_has_nothing_to_push(
    dvc: Dvc, root: Path, staging: Staging, tmp_path: Path
) -> None:
    configure(root, "copy")
    (root / ".dvcignore").write_text("*.tmp\n.env\n/single\n")
    brought_home(staging, tmp_path, root / "model", FILES)
    brought_home(staging, tmp_path, root / "single", b"ignored as a whole")
    assert read(root / "model") == FILES and (root / "single").read_bytes() == b"ignored as a whole"
    digest = dvc.digest_of(root, root / "model")
    assert (tmp_path / "store" / object_key(digest)).exists()
    slot = PathSlot.at((0,), "data", root / "model")
    taken = staging.hash([slot], QUIET)[slot.real]
    assert isinstance(taken, Snapshot) and taken.content.digest == digest
    (root / "dvc.yaml").write_text("stages: {train: {cmd: 'true', outs: [model]}}")
    commit(dvc, root)
    with contextlib.chdir(root), dvc.repo() as repo:
        assert repo.push() == 0


def test_dvcs_files_are_read_once_a_batch(root: Path, staging: Staging, tmp_path: Path) -> None:
    configure(root, "copy")
    (root / ".dvcignore").write_text("*.tmp\n")
    slot = PathSlot.at((0,), "out", tree(tmp_path / "node", FILES))
    taken = staging.hash([slot], QUIET)[slot.real]
    assert isinstance(taken, Snapshot)
    staging.push([taken], QUIET)

    def manifests_after(home: str) -> int:
        [pulled] = staging.pull_all([(taken.content, root / home)], QUIET)
        assert pulled.error is None
        return len(list((tmp_path / "store").rglob("*.dir")))

    assert manifests_after("first") == 2  # with *.tmp, and without
    (root / ".dvcignore").write_text(".env\n")
    assert manifests_after("second") == 2
    staging.hash([slot], QUIET)  # a new batch
    assert manifests_after("third") == 3
