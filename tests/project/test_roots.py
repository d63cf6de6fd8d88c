"""Which folders are the user's projects, and where they are in the tree that travels."""

from __future__ import annotations

import os
import sysconfig
import tempfile
from pathlib import Path

import pytest
from projects import (
    CHECKOUT,
    collected,
    editable,
    git,
    make,
    names,
    repository,
    write,
)

from ray_decorator.project import roots


def test_src_layout_travels_with_the_marker_s_folder_and_keeps_its_import_path(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "src/pkg/__init__.py", "scripts/train.py", "conf/a.yaml")
    make(root, "src/pkg/labels.csv")
    project = collected(
        root / "scripts/train.py", cwd=root / "conf", sys_path=[root / "scripts", root / "src"]
    )
    assert names(project) == [
        "0/conf/a.yaml",
        "0/pyproject.toml",
        "0/scripts/train.py",
        "0/src/pkg/__init__.py",
        "0/src/pkg/labels.csv",
    ]
    assert project.sys_path == ("0/scripts", "0/src")
    assert project.cwd == "0/conf"
    assert project.roots == (root,)
    assert dict(project.files)["0/conf/a.yaml"] == str(root / "conf/a.yaml")


def test_a_flat_app_without_any_marker_is_its_own_folder(tmp_path: Path) -> None:
    make(tmp_path / "work", "train.py", "model.py", "sub/data.json", "../elsewhere.py")
    project = collected(tmp_path / "work/train.py", cwd=tmp_path)
    assert names(project) == ["0/model.py", "0/sub/data.json", "0/train.py"]
    assert project.sys_path == ("0",)
    assert project.cwd is None  # it lies outside of the code


@pytest.mark.parametrize("marker", ["pyproject.toml", "setup.py", "setup.cfg", ".git"])
def test_each_marker_makes_a_project(tmp_path: Path, marker: str) -> None:
    make(tmp_path / "app", marker, "lib.py", "tools/deep/run.py")
    assert "0/lib.py" in names(collected(tmp_path / "app/tools/deep/run.py"))


def test_dvcs_folder_makes_one_where_there_is_no_other(tmp_path: Path) -> None:
    make(tmp_path / "app", ".dvc/config", "lib.py", "tools/run.py")
    assert names(collected(tmp_path / "app/tools/run.py")) == ["0/lib.py", "0/tools/run.py"]
    root = repository(tmp_path / "mono", "lib.py", "apps/one/.dvc/config", "apps/one/run.py")
    assert names(collected(root / "apps/one/run.py")) == ["0/apps/one/run.py", "0/lib.py"]


def test_the_nearest_marker_counts(tmp_path: Path) -> None:
    root = repository(tmp_path / "mono", "other/big.py", "apps/one/pyproject.toml", "apps/one/run.py")
    assert names(collected(root / "apps/one/run.py")) == ["0/pyproject.toml", "0/run.py"]


def test_two_roots_in_the_order_of_sys_path(tmp_path: Path) -> None:
    make(tmp_path / "app", "train.py")
    make(tmp_path / "shared", "setup.py", "lib/tools.py")
    project = collected(tmp_path / "app/train.py", sys_path=[tmp_path / "shared/lib", tmp_path / "app"])
    assert names(project) == ["0/train.py", "1/lib/tools.py", "1/setup.py"]
    assert project.sys_path == ("1/lib", "0")
    assert project.roots == (tmp_path / "app", tmp_path / "shared")


def test_a_root_inside_another_one_is_part_of_it(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "train.py", "vendored/setup.py", "vendored/lib.py")
    project = collected(root / "train.py", sys_path=[root / "vendored", root])
    assert names(project) == ["0/pyproject.toml", "0/train.py", "0/vendored/lib.py", "0/vendored/setup.py"]
    assert project.sys_path == ("0/vendored", "0")
    assert project.roots == (root,)


def test_a_console_script_is_nobody_s_project(tmp_path: Path) -> None:
    scripts = Path(sysconfig.get_path("scripts"))
    make(tmp_path / "lib", "lib.py")
    for main in (
        next(path for path in sorted(scripts.iterdir()) if path.is_file()),
        Path(pytest.__file__),
        Path(os.__file__),
    ):
        project = collected(
            main, cwd=tmp_path, sys_path=[tmp_path / "lib", scripts, Path(pytest.__file__).parents[1]]
        )
        assert names(project) == ["0/lib.py"]
        assert project.sys_path == ("0",)


def test_an_interactive_session_is_where_it_was_started(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "setup.cfg", "notebooks/a.ipynb", "helpers.py")
    project = collected(cwd=root / "notebooks")
    assert names(project) == ["0/helpers.py", "0/notebooks/a.ipynb", "0/setup.cfg"]
    assert project.cwd == "0/notebooks"
    assert project.sys_path == ()
    assert collected(cwd=root / "notebooks", sys_path=[CHECKOUT]) == project


def test_a_script_in_the_home_directory_brings_its_modules_and_not_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = repository(tmp_path / "home", "train.py", "helper.py", "pkg/__init__.py", "pkg/sub/a.txt")
    make(home, "Documents/diary.txt", ".ssh/id_rsa", ".netrc", ".bashrc", "labels.csv", "venv/pyvenv.cfg")
    make(home, ".aws/credentials", ".env", "pyproject.toml", "work/lib/setup.py", "work/lib/lib.py")
    write(home / ".gitignore", "*")
    (home / "film.mp4").write_bytes(bytes(1024 * 1024))
    git(home, "add", "-f", ".bashrc", "Documents/diary.txt")
    monkeypatch.setenv("HOME", str(home))
    project = collected(home / "train.py", cwd=home / "Documents", sys_path=[home, home / "work/lib"])
    assert names(project) == [
        "0/helper.py",
        "0/labels.csv",
        "0/pkg/__init__.py",
        "0/pkg/sub/a.txt",
        "0/pyproject.toml",
        "0/train.py",
        "1/lib.py",
        "1/setup.py",
    ]
    assert project.sys_path == ("0", "1")
    assert project.cwd is None


def test_a_folder_below_a_home_under_git_is_a_project_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = repository(tmp_path / "home", ".bashrc", "exp/train.py", "exp/lib.py", "other/a.py")
    write(home / ".gitignore", "*")
    monkeypatch.setenv("HOME", str(home))
    assert names(collected(home / "exp/train.py")) == ["0/lib.py", "0/train.py"]


@pytest.mark.parametrize("where", ["home's parent", "the temp directory"])
def test_neither_a_folder_above_home_nor_the_temp_directory_is_taken_whole(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = make(tmp_path / "top", "train.py", "pyproject.toml", "sub/data.txt", "pkg/__init__.py", "hers/x.py")
    monkeypatch.setenv("HOME", str(top / "me") if where == "home's parent" else str(tmp_path / "me"))
    if where == "the temp directory":
        monkeypatch.setattr(tempfile, "tempdir", str(top))
    assert names(collected(top / "train.py")) == ["0/pkg/__init__.py", "0/pyproject.toml", "0/train.py"]


def test_this_package_s_own_checkout_does_not_travel_for_being_installed(tmp_path: Path) -> None:
    make(tmp_path / "app", "train.py")
    local = [editable(CHECKOUT, ray_decorator=CHECKOUT / "ray_decorator")]
    project = collected(
        tmp_path / "app/train.py", cwd=tmp_path, sys_path=[tmp_path / "app", CHECKOUT], local=local
    )
    assert names(project) == ["0/train.py"]
    assert (project.sys_path, project.packages) == (("0",), {})


def test_this_package_s_own_checkout_travels_where_the_user_works_in_it(tmp_path: Path) -> None:
    make(tmp_path / "app", "train.py")
    project = collected(tmp_path / "app/train.py", cwd=CHECKOUT, sys_path=[tmp_path / "app", CHECKOUT])
    assert project.roots == (tmp_path / "app", CHECKOUT)
    assert "1/ray_decorator/project/collect.py" in names(project)
    assert project.cwd == "1"


def test_a_path_is_in_the_innermost_root_and_code_only_where_it_is_taken_whole() -> None:
    found = roots.Roots(
        folders := ("/a", "/home/me", "/home/me/lib"), folders, frozenset({"/home/me"}), (), {}, None
    )
    assert [found.tree_path(path) for path in ("/a", "/a/b/c", "/home/me/x", "/home/me/lib/y", "/ab")] == [
        "0",
        "0/b/c",
        "1/x",
        "2/y",
        None,
    ]
    assert [found.code_path(path) for path in ("/home/me", "/home/me/x", "/a/b")] == ["1", None, "0/b"]
