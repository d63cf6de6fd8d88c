"""What .gitignore files leave out where git cannot be asked: as git would, had it been."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import (
    collected,
    git,
    make,
    names,
    repository,
    write,
)

from ray_decorator.content.looking.gitignore import IgnoreFiles, above
from ray_decorator.project.files.git import listing


def test_gitignore_counts_without_git_and_from_above_the_root(tmp_path: Path) -> None:
    make(tmp_path / "plain", "train.py", "a.log")
    write(tmp_path / "plain/.gitignore", "*.log")
    assert names(collected(tmp_path / "plain/train.py")) == ["0/.gitignore", "0/train.py"]
    mono = repository(tmp_path / "mono", "app/pyproject.toml", "app/train.py", "app/a.log", "app/raw/x")
    write(mono / ".gitignore", "*.log", "/app/raw/")
    assert names(collected(mono / "app/train.py")) == ["0/pyproject.toml", "0/train.py"]


LINES = ["a", "*", "*.py", "x.*", "/a", "b/", "a/b", "a/**", "**/x.py", "a/**/b", "[ab]", "[!a]", "?", "f*o"]
LINES += [f"!{line}" for line in LINES] + [
    "\\!c",
    "# note",
    "",
    "a b ",
    "\\#d",
    "**",
    "*/",
    "/*/",
    "**/",
    "foo/*",
]


def random_repository(root: Path, seed: int) -> tuple[Path, list[str]]:
    """A repository, and what git does not ignore in it."""
    chance = random.Random(seed)
    repository(root)
    for _ in range(40):
        parts = [chance.choice(["a", "b", "foo", "x.py", "x.txt", "!c", "a b", "#d"]) for _ in range(4)]
        path = root.joinpath(*parts[: chance.randint(1, 4)])
        if not path.exists() and not any(parent.is_file() for parent in path.parents):
            make(root, str(path.relative_to(root)))
    folders = [path for path in sorted(root.rglob("*")) if path.is_dir() and ".git" not in path.parts]
    for folder in [root, *chance.sample(folders, 2)]:
        write(folder / ".gitignore", *(chance.choice(LINES) for _ in range(chance.randint(1, 5))))
    listed = git(root, "ls-files", "-z", "--others", "--exclude-standard").split("\0")[:-1]
    return root, sorted(f"0/{name}" for name in listed)


@pytest.mark.parametrize("seed", range(15))
def test_ignores_exactly_what_git_ignores(tmp_path: Path, seed: int) -> None:
    root, listed = random_repository(tmp_path / "app", seed)
    assert names(collected(cwd=root)) == listed


@pytest.fixture
def without_git(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """After it no program is found on PATH."""
    return lambda: monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.parametrize("seed", range(15))
def test_without_git_the_same_is_ignored(tmp_path: Path, seed: int, without_git: Callable[[], None]) -> None:
    root, listed = random_repository(tmp_path / "app", seed)
    without_git()
    assert listing(str(root), str(root)) is None
    assert names(collected(cwd=root)) == listed


def test_without_git_all_levels_count_also_above_the_project(
    tmp_path: Path, without_git: Callable[[], None]
) -> None:
    mono = repository(tmp_path / "mono", "scratch/pyproject.toml", "scratch/train.py", "scratch/a.log")
    make(
        mono, "scratch/raw/x.bin", "scratch/raw/README", "scratch/b.pdf", "scratch/deep/gen/a.py", "scratch/z"
    )
    write(mono / ".gitignore", "scratch/", "*.log", "/scratch/raw/**", "!README", "gen/")
    write(mono / ".git/info/exclude", "*.pdf", "/scratch/z")
    (mono / "scratch/.gitignore").write_bytes(b"\xef\xbb\xbf*.tmp\r\n!z\r\n")
    make(mono, "scratch/c.tmp")
    main, generated = mono / "scratch/train.py", mono / "scratch/deep/gen"
    with_git = collected(main, sys_path=[main.parent, generated])
    assert names(with_git) == [
        "0/.gitignore",
        "0/deep/gen/a.py",
        "0/pyproject.toml",
        "0/raw/README",
        "0/train.py",
        "0/z",
    ]
    without_git()
    assert collected(main, sys_path=[main.parent, generated]) == with_git


def test_where_git_refuses_gitignore_counts(tmp_path: Path) -> None:
    """As it does in a folder of another user, and in a repository that is broken."""
    root = repository(tmp_path / "outer/app", "train.py", "a.log", "b.bin", "sub/c.py")
    git(repository(tmp_path / "outer"), "add", "-f", "app/a.log")
    write(root / ".gitignore", "*.log", "*.bin")
    (root / ".git/HEAD").write_text("nonsense")
    assert names(collected(root / "train.py")) == ["0/.gitignore", "0/sub/c.py", "0/train.py"]


def test_a_line_that_is_no_pattern_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path / ".gitignore", "!", "//", "a/***/[", "\\", "*.log")
    rules = IgnoreFiles().within(str(tmp_path))
    assert rules.ignores(str(tmp_path / "x.log"), False)
    assert not rules.ignores(str(tmp_path / "x"), True)
    assert above(str(tmp_path / "b"), str(tmp_path)).specs == rules.specs
    assert above(str(tmp_path), None) == IgnoreFiles()
