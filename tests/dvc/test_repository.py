"""Which DVC repository a path is in: as the real dvc finds it."""

from __future__ import annotations

import shutil
from pathlib import Path

import dvc_repositories
from dvc_repositories import Dvc
from trees import read, tree
from whole_trees import described

from ray_decorator.dvc.repository import original_of, root_of


def test_the_nearest_repository_above_is_the_one(dvc: Dvc, tmp_path: Path) -> None:
    outer = dvc_repositories.init(tmp_path / "outer")
    inner = dvc_repositories.init(outer / "a" / "inner")
    (inner / "data").mkdir()
    for path in (outer, outer / "a", inner, inner / "data"):
        assert root_of(path) == dvc.root_of(path)
    assert root_of(inner / "data" / "absent" / "file") == str(inner)
    assert root_of(outer / "a" / ".." / "a") == str(outer)
    assert root_of(tmp_path) is None


def test_a_file_called_dvc_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / ".dvc").write_text("")
    assert root_of(tmp_path) is None


def test_a_link_counts_where_it_is_and_not_where_it_leads(tmp_path: Path) -> None:
    repository = dvc_repositories.init(tmp_path / "repository")
    (tmp_path / "elsewhere").mkdir()
    (repository / "data").symlink_to(tmp_path / "elsewhere")
    assert root_of(repository / "data") == str(repository)
    assert root_of(tmp_path / "elsewhere") is None


def test_a_workspace_of_an_experiment_is_a_copy_of_a_place_in_the_repository_of_git(tmp_path: Path) -> None:
    (tmp_path / "git" / ".git").mkdir(parents=True)
    for main, inner in (("git", ""), ("git", "/sub/.dvc"), ("git/sub", "/sub"), ("git/sub", "/other/dir")):
        for workspace in ("tmpab12", "standalone/tmpab12"):
            path = f"{tmp_path}/{main}/.dvc/tmp/exps/{workspace}{inner}"
            assert original_of(path) == f"{tmp_path}/git{inner}"
    for path in ("/a/.dvc", "/a/.dvc/tmp/exps/run/x", "/a/.dvc/tmp/exps/standalone", "/a/tmp/exps/tmpab12"):
        assert original_of(path) == path
    assert original_of("/nonexistent/.dvc/tmp/exps/tmpab12/x") == "/nonexistent/x"


def test_what_the_tests_make_of_their_own_is_what_dvc_makes(dvc: Dvc, tmp_path: Path) -> None:
    files = {"data/a": b"1", "data/sub/b": b"22", "data/sub/c d": b"1", "one.bin": b"one", "many/x": b"x"}
    names = ("data", "one.bin", "many/x")
    theirs, ours = (tree(tmp_path / name / "repository", files) for name in ("theirs", "ours"))
    dvc(theirs, "init", "--no-scm", "--quiet")
    assert read(dvc_repositories.init(ours)) == read(theirs)
    dvc(theirs, "add", *names)
    dvc(theirs, "remote", "add", "--default", "store", "../store")
    dvc(theirs, "push")
    dvc_repositories.add(ours, *names)
    dvc_repositories.push_all(ours, tmp_path / "ours" / "store")
    for place in (theirs, ours):
        shutil.rmtree(place / ".dvc" / "tmp")
    assert described(tmp_path / "ours") == described(tmp_path / "theirs")
