"""What git lists of a project: the real git, with its real configuration."""

from __future__ import annotations

import os
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

from ray_decorator.project.files.git import listing
from ray_decorator.project.files.git import repository as repository_of


def test_gitignore_at_every_level_with_negation(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "train.py", "a.log", "keep.log", "data/big.bin", "src/b.log")
    make(root, "src/notes/c.log", "src/notes/d.txt", "build/lib/e.py", "src/build/f.py", "data/README")
    write(root / ".gitignore", "*.log", "!keep.log", "/build/", "data/*", "!data/README")
    write(root / "src/.gitignore", "!b.log", "notes/*.txt")
    write(root / ".git/info/exclude", "train.pdf")
    make(root, "train.pdf")
    found = names(collected(root / "train.py"))
    assert found == [
        "0/.gitignore",
        "0/data/README",
        "0/keep.log",
        "0/src/.gitignore",
        "0/src/b.log",
        "0/src/build/f.py",
        "0/train.py",
    ]
    others = git(root, "ls-files", "--others", "--exclude-standard").splitlines()
    assert found == sorted(f"0/{name}" for name in others)


def test_a_project_in_an_ignored_folder_still_travels(tmp_path: Path) -> None:
    mono = repository(tmp_path / "mono", "scratch/pyproject.toml", "scratch/train.py", "scratch/a.log")
    write(mono / ".gitignore", "scratch/", "*.log")
    assert names(collected(mono / "scratch/train.py")) == ["0/pyproject.toml", "0/train.py"]


def test_in_a_linked_worktree_too(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "train.py", "forced.bin")
    write(root / ".gitignore", "*.bin")
    git(root, "add", "-f", ".")
    git(root, "commit", "-qm", "x")
    git(root, "worktree", "add", "-q", str(tmp_path / "tree"))
    write(root / ".git/info/exclude", "*.pdf")
    make(tmp_path / "tree", "a.pdf", "b.bin")
    assert names(collected(tmp_path / "tree/train.py")) == ["0/.gitignore", "0/forced.bin", "0/train.py"]


def test_what_git_tracks_travels_though_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repository(
        tmp_path / "app", "train.py", "weights/small.bin", "weights/big.bin", "ü/ä\n.bin", ".env"
    )
    write(root / ".gitignore", "*.bin", "weights/", ".env")
    git(root, "add", "-f", "weights/small.bin", "ü/ä\n.bin", ".env")
    # as in a hook of another repository
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert names(collected(root / "train.py")) == [
        "0/.env",
        "0/.gitignore",
        "0/train.py",
        "0/weights/small.bin",
        "0/ü/ä\n.bin",
    ]


def test_what_git_tracks_but_is_deleted_does_not(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "train.py", "gone.py")
    git(root, "add", ".")
    (root / "gone.py").unlink()
    assert names(collected(root / "train.py")) == ["0/train.py"]


def test_names_of_any_kind(tmp_path: Path) -> None:
    odd = ["ü/日本 語.py", "a b\tc.txt", "quote'\".py", "new\nline.py", "back\\slash.py", "-dash.py"]
    root = repository(tmp_path / "app", "train.py", *odd)
    bad = os.fsdecode(b"\xff.txt")
    (root / bad).write_text("x")
    git(root, "add", ".")
    assert names(collected(root / "train.py")) == sorted(f"0/{name}" for name in ["train.py", bad, *odd])


@pytest.mark.parametrize("named_by", ["GIT_CONFIG_GLOBAL", "XDG_CONFIG_HOME", "HOME", "GIT_CONFIG_COUNT"])
def test_the_user_s_own_gitignore_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    for name in ("GIT_CONFIG_GLOBAL", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    write(tmp_path / "me/ignored", "*.swp", "/scratch/")
    config = f"[core]\n  excludesFile = {tmp_path / 'me/ignored'}"
    if named_by == "GIT_CONFIG_GLOBAL":
        write(tmp_path / "me/config", config)
        monkeypatch.setenv(named_by, str(tmp_path / "me/config"))
    elif named_by == "XDG_CONFIG_HOME":
        write(tmp_path / "xdg/git/ignore", "*.swp", "/scratch/")  # where git looks unless told
        monkeypatch.setenv(named_by, str(tmp_path / "xdg"))
    elif named_by == "HOME":
        write(tmp_path / "me/.gitconfig", config)
    else:
        monkeypatch.setenv(named_by, "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.excludesFile")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(tmp_path / "me/ignored"))
    root = repository(tmp_path / "app", "train.py", ".train.py.swp", "scratch/a.py", "pkg/scratch/b.py")
    assert names(collected(root / "train.py")) == ["0/pkg/scratch/b.py", "0/train.py"]


def test_the_variables_of_a_hook_do_not_mislead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = repository(tmp_path / "other", "theirs.py")
    git(other, "add", ".")
    root = repository(tmp_path / "app", "train.py", "a.bin")
    write(root / ".gitignore", "*.bin")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.worktree'='{other}'")
    assert names(collected(root / "train.py")) == ["0/.gitignore", "0/train.py"]
    found = listing(str(root), str(root))
    assert found is not None and not found.tracked


def test_a_repository_inside_travels_by_its_own_rules_and_by_the_outer_ones(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "train.py")
    inner = repository(root / "third/party", "lib.py", "a.log", "b.bin", "forced.bin", "forced.log", "raw/x")
    deeper = repository(inner / "deeper", "deep.py", "deep.log")
    write(inner / ".gitignore", "*.bin")
    git(inner, "add", "-f", "forced.bin", "forced.log")
    write(root / ".gitignore", "*.log", "/third/party/raw/")
    expected = ["deeper/deep.py", "forced.bin", "forced.log", "lib.py"]
    expected = ["0/.gitignore", "0/third/party/.gitignore", *(f"0/third/party/{name}" for name in expected)]
    assert names(collected(root / "train.py")) == [*expected, "0/train.py"]
    assert repository_of(str(deeper / "x"), ["/"]) == str(deeper)
    assert repository_of(str(deeper / "x"), [str(deeper)]) is None


def test_submodules_travel_and_those_that_are_not_there_do_no_harm(tmp_path: Path) -> None:
    lib = repository(tmp_path / "lib", "lib.py", "tracked.bin")
    write(lib / ".gitignore", "*.bin")
    git(lib, "add", "-f", ".")
    git(lib, "commit", "-qm", "x")
    root = repository(tmp_path / "app", "train.py")
    for name in ("there", "gone"):
        git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(lib), name)
    git(root, "submodule", "--quiet", "deinit", "-f", "gone")
    make(root / "there", "new.py", "new.bin")
    assert names(collected(root / "train.py")) == [
        "0/.gitmodules",
        "0/there/.gitignore",
        "0/there/lib.py",
        "0/there/new.py",
        "0/there/tracked.bin",
        "0/train.py",
    ]


def test_a_folder_is_looked_into_though_the_rules_ignore_it(tmp_path: Path) -> None:
    odd = "ge*n [1] \\x/deep "
    root = repository(tmp_path / "app", f"{odd}/a.py", f"{odd}/a.log", f"{odd}/sub/b.py")
    make(root, "ge*n [1] \\x/not.py", "gen/not.py")
    inner = repository(root / odd / "inner", "c.py")
    write(root / ".gitignore", "ge*", "*.log")
    found = listing(str(root / odd), str(root), [str(root / odd / "sub")])
    assert found is not None
    assert found.files == {str(root / odd / "a.py"), str(inner / "c.py")}
    assert found.folders == {str(root / odd), str(inner)}
    assert not found.ignores(str(inner), True) and found.ignores(str(root / odd / "sub"), True)
