"""What DVC tracks, read from its files: the same outputs and md5s as the real dvc has."""

from __future__ import annotations

import sys
from pathlib import Path

import dvc_repositories
import pytest
from dvc.repo import Repo
from dvc_repositories import dvc
from trees import tree

from ray_decorator.core.errors import InputError
from ray_decorator.core.model import PathSlot
from ray_decorator.dvc.outputs import Outputs

STAGES = f"""
stages:
  plain:
    cmd: {sys.executable} -c "open('plain.txt','w').write('p')"
    outs: [plain.txt]
  elsewhere:
    wdir: sub/folder
    cmd: {sys.executable} -c "open('out.bin','w').write('o')"
    outs:
    - out.bin:
        remote: other
  many:
    foreach: [a, b]
    do:
      cmd: {sys.executable} -c "open('${{item}}.many','w').write('${{item}}')"
      outs: ['${{item}}.many']
  metrics:
    cmd: {sys.executable} -c "open('m.json','w').write('1')"
    metrics:
    - m.json:
        cache: false
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = dvc_repositories.init(tmp_path_factory.mktemp("tracked") / "repository")
    tree(root, {"data/a": b"1", "data/sub/b": b"2", "deep/er/file ü.bin": b"3", "sub/folder/x": b"x"})
    (root / "dvc.yaml").write_text(STAGES)
    dvc(root, "remote", "add", "other", "/tmp/other")
    dvc(root, "repro")
    dvc(root, "add", "data")
    dvc(root, "add", "deep/er/file ü.bin")
    return root


def test_all_of_a_repository_are_dvcs_own(root: Path) -> None:
    with Repo(str(root)) as repo:
        real = {out.fs_path: (out.hash_info.value, out.remote) for out in repo.index.outs}
    ours = {one.path: (one.digest, one.remote) for one in Outputs().all_of(str(root))}
    assert len(ours) == 7
    assert ours == real
    assert not any(one.is_old for one in Outputs().all_of(str(root)))


def test_a_path_is_tracked_by_itself_or_by_a_directory_above(root: Path) -> None:
    outputs = Outputs()
    for path in ("data", "data/sub", "data/sub/b", "deep/er/file ü.bin", "sub/folder/out.bin", "a.many"):
        found = outputs.tracking(root / path)
        assert found is not None and str(root / path).startswith(found.path), path
    found = outputs.tracking(root / "data" / "sub")
    assert found is not None
    assert (found.files, found.size, found.is_tree, found.source) == (2, 2, True, str(root / "data.dvc"))
    assert outputs.tracking(root / "dat") is None
    assert outputs.tracking(root / "deep") is None
    assert outputs.tracking(root.parent) is None


def test_a_dvc_file_that_is_far_from_its_data_is_found(root: Path, tmp_path: Path) -> None:
    other = dvc_repositories.init(tmp_path / "repository")
    (other / "files").mkdir()
    text = (root / "data.dvc").read_text().replace("- md5", "- hash: md5\n  md5", 0)
    (other / "files" / "x.dvc").write_text(text.replace("path: data", "path: ../far/data"))
    found = Outputs().tracking(other / "far" / "data" / "a")
    assert found is not None and found.path == str(other / "far" / "data")
    assert Outputs().nearby(other / "far" / "data") is None
    (other / ".dvcignore").write_text("/files/\n")
    assert Outputs().tracking(other / "far" / "data" / "a") is None


def test_what_dvc_2_wrote_is_told(tmp_path: Path) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    (root / "old.dvc").write_text(f"outs:\n- md5: {'1' * 32}\n  size: 3\n  path: old\n")
    found = Outputs().tracking(root / "old")
    assert found is not None and found.is_old and found.digest == "1" * 32


def test_deps_that_are_here_or_tracked_and_those_that_are_neither(root: Path) -> None:
    (root / "b.many").unlink()
    slots = [PathSlot.at((n,), f"k{n}", root / name) for n, name in enumerate(["data", "absent", "b.many"])]
    assert Outputs().untracked(slots) == slots[:2]


def test_a_spoilt_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    (root / "x.dvc").write_text("outs: [\n")
    with pytest.raises(InputError, match=r"x\.dvc: cannot be read as a file of DVC's"):
        Outputs().tracking(root / "x")
