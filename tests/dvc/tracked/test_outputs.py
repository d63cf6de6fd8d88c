"""What DVC tracks, read from its files: the same outputs and md5s as the real dvc has."""

from __future__ import annotations

import sys
from pathlib import Path

import dvc_repositories
import pytest
from dvc_locks import locked, ours, theirs, written
from dvc_repositories import Dvc
from projects import git
from trees import tree

from ray_decorator.core.values.model import PathSlot
from ray_decorator.dvc.tracked.outputs import Outputs

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
def root(dvc: Dvc, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = dvc_repositories.init(tmp_path_factory.mktemp("tracked") / "repository")
    tree(root, {"data/a": b"1", "data/sub/b": b"2", "deep/er/file ü.bin": b"3", "sub/folder/x": b"x"})
    (root / "dvc.yaml").write_text(STAGES)
    dvc(root, "remote", "add", "other", "/tmp/other")
    dvc(root, "repro")
    dvc(root, "add", "data")
    dvc(root, "add", "deep/er/file ü.bin")
    return root


def test_all_of_a_repository_are_dvcs_own(dvc: Dvc, root: Path) -> None:
    with dvc.repo(str(root)) as repo:
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


def test_a_dvc_file_that_is_far_from_its_data_is_found(tmp_path: Path) -> None:
    other = tree(dvc_repositories.init(tmp_path / "repository"), {"data/a": b"1"})
    dvc_repositories.add(other, "data")
    (other / "files").mkdir()
    text = (other / "data.dvc").read_text()
    (other / "data.dvc").unlink()
    (other / "files" / "x.dvc").write_text(text.replace("path: data", "path: ../far/data"))
    found = Outputs().tracking(other / "far" / "data" / "a")
    assert found is not None and found.path == str(other / "far" / "data")
    assert Outputs().nearby(other / "far" / "data") is None
    (other / ".dvcignore").write_text("/files/\n")
    assert Outputs().tracking(other / "far" / "data" / "a") is None


def test_deps_that_are_here_or_tracked_and_those_that_are_neither(root: Path) -> None:
    (root / "b.many").unlink()
    slots = [PathSlot.at((n,), f"k{n}", root / name) for n, name in enumerate(["data", "absent", "b.many"])]
    assert Outputs().untracked(slots) == slots[:2]


def tracker(path: str) -> bytes:
    return f"outs:\n- {{md5: '{'1' * 32}', hash: md5, size: 1, path: {path}}}\n".encode()


@pytest.mark.parametrize(
    ("lines", "count"),
    [("", 4), ("*.dvc", 2), ("*.dvc\n!data.dvc", 3), ("/sub/", 3), ("dvc.yaml", 2), ("dvc.lock", 2)],
)
def test_files_that_dvc_does_not_read_do_not_count(dvc: Dvc, tmp_path: Path, lines: str, count: int) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    tree(
        root,
        {
            "data.dvc": tracker("data"),
            "sub/deep/x.dvc": tracker("x"),
            "d/raw/q.dvc": tracker("q"),  # inside an output of the root's pipeline
            "d/raw/deep/q.dvc": tracker("q"),
            ".git/q.dvc": tracker("q"),
            ".dvcignore": lines.encode(),
        },
    )
    written(root, yaml="stages: {a: {cmd: x, outs: [d/raw, b]}}", lock=locked(a="d/raw=2 b=3"))
    if lines.startswith("dvc."):
        for name in ("d/raw/q.dvc", "d/raw/deep/q.dvc"):
            (root / name).unlink()
    real = theirs(dvc, root)
    assert len(real) == count
    assert ours(Outputs().all_of(str(root))) == real
    outputs = Outputs()
    for path in ("data", "sub/deep/x", "d/raw", "b"):
        near = outputs.nearby(root / path)
        assert (near is not None) == (str(root / path) in real), path
    covering = outputs.nearby(root / "d" / "raw" / "deep" / "q")
    assert (covering.path if covering else None) == (
        str(root / "d" / "raw") if str(root / "d" / "raw") in real else None
    )
    below = outputs.at_or_below(str(root / "sub"), [str(root / "sub" / "deep" / "y")])
    absent = outputs.absent_from(str(root), ["sub/deep/x.dvc"])
    assert [one.path for one in below] == [one.path for one in absent]
    assert [one.path for one in absent] == [path for path in real if path.endswith("/x")]


@pytest.mark.parametrize("no_scm", ["false", "TRUE"])
@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ("", 4),
        ("*.dvc", 1),
        ("*.dvc\n!data.dvc", 2),
        ("sub/", 3),
        ("/inner/sub", 3),
        ("dvc.yaml", 3),
        ("/data", 4),
    ],
)
def test_files_that_git_ignores_do_not_count_either(
    dvc: Dvc, tmp_path: Path, lines: str, count: int, no_scm: str
) -> None:
    """The repository of DVC is in one of git; with ``core.no_scm``, DVC does not ask git."""
    git(tmp_path, "init", "-q")
    root = dvc_repositories.init(tmp_path / "inner")
    tree(
        root,
        {
            ".dvc/config": f"[core]\n    no_scm = {no_scm}\n".encode(),
            "data.dvc": tracker("data"),
            "sub/deep/x.dvc": tracker("x"),
            "more/y.dvc": tracker("y"),
            "more/.gitignore": b"*.log\n",
            "../.gitignore": lines.encode(),
        },
    )
    written(root, yaml="stages: {a: {cmd: x, outs: [b]}}", lock=locked(a="b=3"))
    real = theirs(dvc, root)
    assert len(real) == (count if no_scm == "false" else 4)
    assert ours(Outputs().all_of(str(root))) == real
    for path in ("data", "sub/deep/x", "more/y", "b"):
        assert (Outputs().nearby(root / path) is not None) == (str(root / path) in real), path


@pytest.mark.parametrize("named", ["core.excludesFile", "as git has it by default"])
def test_nor_do_those_that_the_user_has_git_ignore_everywhere(
    dvc: Dvc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    home, is_named = tmp_path / "home", named == "core.excludesFile"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    file = "own" if is_named else "xdg/git/ignore"
    tree(
        home, {file: b"scratch*\n", ".gitconfig": b"[core]\n    excludesFile = ~/own\n" if is_named else b""}
    )
    root = dvc_repositories.init(tmp_path / "repository")
    git(root, "init", "-q")
    trackers = {f"{name}.dvc": tracker(name) for name in ("data", "scratch", "scratches/x", "kept/scratch")}
    tree(root, {".dvc/config": b"", **trackers, "kept/.gitignore": b"!scratch.dvc\n"})
    real = theirs(dvc, root)
    assert real.keys() == {str(root / "data"), str(root / "kept" / "kept" / "scratch")}
    assert ours(Outputs().all_of(str(root))) == real
