"""``code_include``: files that travel because the user says so."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from projects import collected, editable, git, make, names, repository, write

from ray_decorator.core.errors import InputError
from ray_decorator.project.files.include import Include

HOME = "pyproject.toml train.py gen/a.py gen/deep/b.py lib/gen/c.py conf/.env conf/local.yaml conf/prod.yaml one.key"

INCLUDED = [
    (["gen/"], "gen/a.py gen/deep/b.py lib/gen/c.py"),
    (["/gen/"], "gen/a.py gen/deep/b.py"),
    (["/gen"], "gen/a.py gen/deep/b.py"),
    (["gen/*.py"], "gen/a.py"),
    (["gen/**"], "gen/a.py gen/deep/b.py"),
    (["**/c.py"], "lib/gen/c.py"),
    (["b.py", "/one.key"], "gen/deep/b.py one.key"),
    (["conf/*.yaml", "!conf/prod.yaml"], "conf/local.yaml"),
    (["*.env"], "conf/.env"),
    (["gen/a.py", "gen/deep/"], "gen/a.py gen/deep/b.py"),
    (["g?n/[ab].py", "conf/local.yam*"], "gen/a.py conf/local.yaml"),
]


@pytest.mark.parametrize("with_git", [False, True])
@pytest.mark.parametrize(("include", "expected"), INCLUDED)
def test_what_is_named_travels_though_ignored_or_secret(
    tmp_path: Path, include: list[str], expected: str, with_git: bool
) -> None:
    root = make(tmp_path / "app", *HOME.split())
    write(root / ".gitignore", "gen/", "conf/*.yaml")
    if with_git:
        git(root, "init", "-q")
    always = [".gitignore", "pyproject.toml", "train.py"]
    project = collected(root / "train.py", include=include)
    assert names(project) == sorted(f"0/{name}" for name in [*always, *expected.split()])
    assert project.unused == ()
    kept_back = {os.path.relpath(path, root) for path in project.secrets}
    assert kept_back == {"conf/.env", "one.key"} - set(expected.split())


def test_a_line_that_matches_nothing_is_told(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "train.py", "gen/a.py")
    project = collected(root / "train.py", include=["/gen/", "/gne/", "*.pyx", "!x.py"])
    assert project.unused == ("/gne/", "*.pyx")


def test_lines_are_of_each_project(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "train.py", "gen/a.py")
    write(root / ".gitignore", "gen/")
    lib = make(tmp_path / "lib", "pyproject.toml", "gen/b.py")
    write(lib / ".gitignore", "gen/")
    project = collected(root / "train.py", local=[editable(lib)], include=["/gen/"])
    assert {"0/gen/a.py", "1/gen/b.py"} <= set(names(project))


def test_what_earlier_jobs_left_can_be_named(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "train.py", "outputs/best/model.py", "outputs/best/x.log")
    make(root, "runs/1/.hydra/hydra.yaml", "runs/1/rules.py")
    project = collected(root / "train.py", include=["outputs/best/*.py", "/runs/1/rules.py"])
    assert names(project)[:3] == ["0/outputs/best/model.py", "0/pyproject.toml", "0/runs/1/rules.py"]
    assert len(project.files) == 4


def test_what_is_nobodys_code_cannot(tmp_path: Path) -> None:
    root = repository(
        tmp_path / "app", "train.py", "venv/pyvenv.cfg", "venv/a.txt", "data/a.txt", "out/a.txt"
    )
    make(root, "pkg/__pycache__/a.txt", "web/node_modules/a.txt", "a.pyc", ".git/a.txt", "out/deep/a.txt")
    left_out = [root / "data", root / "out"]
    project = collected(root / "train.py", left_out=left_out, include=["a.*", "out/deep/a.txt"])
    assert names(project) == ["0/train.py"]


def test_a_folder_behind_a_link_travels_when_it_is_named(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "shared/a.py", "shared/deep/b.py")
    root = make(tmp_path / "app", "train.py")
    (root / "shared").symlink_to(tmp_path / "elsewhere/shared")
    (root / "aws.ini").symlink_to(make(tmp_path, "home/.aws/config") / "home/.aws/config")
    project = collected(root / "train.py", include=["/shared/", "/aws.ini"])
    assert names(project) == ["0/aws.ini", "0/shared/a.py", "0/shared/deep/b.py", "0/train.py"]
    assert project.secrets == ()


@pytest.mark.parametrize("line", ["# gen/", "", "   "])
def test_what_is_no_line_is_refused(line: str) -> None:
    with pytest.raises(
        InputError, match=f"^code_include: {re.escape(repr(line))} names no file; expected a line"
    ):
        Include([line])


def test_in_a_home_directory_a_name_is_of_that_directory_alone(tmp_path: Path) -> None:
    make(tmp_path, "a.key", "deep/b.key", "gen/deep/c.py")
    include = Include(["*.key", "/gen/"])
    found = include.find(str(tmp_path), lambda folder: False, deep=False)
    assert sorted(os.path.relpath(path, tmp_path) for path in found) == ["a.key"]
