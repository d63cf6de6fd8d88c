"""What .dvcignore leaves out, and a directory's digest without it: the same as the real dvc's."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import dvc_repositories
import pytest
from dvc_repositories import Dvc
from trees import QUIET, numbered, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.looking.snapshot import Snapshot, snapshot
from ray_decorator.core.errors import InputError
from ray_decorator.dvc.ignore import Ignores, Rules

NAMES = [
    "a", "b", "c.txt", "d.tmp", ".env", "x y", "ünïcode", "日本", "new\nline", "tab\t", "[z]", "!bang", "#hash",
    "b.txt", "trailing ", "keep.tmp", "back\\slash", "-dash", "é", "a.b.c", "*star",
]  # fmt: skip
PATTERNS = [
    "*.tmp", "!keep.tmp", "/a", "a/", "b", "!b", "**/c.txt", "/**/d.tmp", ".env", "a/b", "/a/b/", "!a/b", "x y",
    "*", "!*.txt", "日本/", "# a comment", "", "  b.txt  ", "\\#hash", "\\!bang", "a/**", "!a/**/b", "?", "[ab]",
    "[!a]", "a/*/b", "ü*", "*/", "!*/", "c.txt/", "\\*star", "**/a/", "/*.txt", "!/a/",
]  # fmt: skip


def ours(path: Path, hashes: HashCache) -> Snapshot:
    return snapshot(path, hashes, QUIET, selection=Ignores().selection(path))


def files(taken: Snapshot) -> set[str]:
    return {entry.relpath for entry in taken.entries}


def grown(folder: Path, chance: random.Random, depth: int) -> None:
    """Files, empty ones among them, links, and folders of the same, empty ones among them."""
    folder.mkdir(exist_ok=True)
    for name in chance.sample(NAMES, chance.randint(0, 6)):
        path = folder / name
        kind = chance.random()
        if kind < 0.4 and depth:
            grown(path, chance, depth - 1)
        elif kind < 0.5:
            path.write_bytes(b"")
        elif kind < 0.6:
            path.symlink_to(folder.parent)
        elif kind < 0.7:
            target = folder.parent / f".target-{chance.random()}"
            target.write_text("linked")
            path.symlink_to(target)
        else:
            path.write_text(name * chance.randint(1, 3))


@pytest.mark.parametrize("seed", range(60))
def test_a_generated_tree_has_dvcs_digest(dvc: Dvc, tmp_path: Path, hashes: HashCache, seed: int) -> None:
    """`.dvcignore` files stand at every level above the tree, with negation; some name others of them."""
    chance = random.Random(seed)
    root = dvc_repositories.init(tmp_path / "repository")
    at = root
    for level in range(3):
        patterns = chance.sample(PATTERNS, chance.randint(0, 5))
        if chance.random() < 0.2:
            patterns.append(".dvcignore")
        (at / ".dvcignore").write_text("\n".join(patterns))
        at = at / chance.choice(["data", "a", "sub.dir"])
        at.mkdir()
        if level == 1 and chance.random() < 0.5:
            (at / ".dvcignore").write_text("".join(f"{line}\r\n" for line in chance.sample(PATTERNS, 3)))
    grown(at, chance, 3)
    try:
        taken = ours(at, hashes)
    except InputError:
        with dvc.repo(str(root)) as repo:
            assert repo.dvcignore.is_ignored(repo.fs, str(at))
    else:
        assert taken.content.digest == dvc.digest_of(root, at)


def test_ten_thousand_files(dvc: Dvc, tmp_path: Path, hashes: HashCache) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    tree(root / "data", numbered(10_000, 20))
    (root / ".dvcignore").write_text("data/*/1*\n!data/*/12*\n/data/3/\n")
    taken = ours(root / "data", hashes)
    assert 5_000 < taken.content.files < 9_000
    assert taken.content.digest == dvc.digest_of(root, root / "data")
    # the record of the whole tree is not one of what counts now
    (root / ".dvcignore").unlink()
    assert ours(root / "data", hashes).content.files == 10_000
    (root / ".dvcignore").write_text("data/*/1*\n!data/*/12*\n/data/3/\n")
    assert ours(root / "data", hashes).content == taken.content


def test_the_digest_is_what_dvc_add_writes(dvc: Dvc, tmp_path: Path, hashes: HashCache) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    tree(root / "data", {"a.txt": b"a", ".env": b"SECRET=1", "sub/.env": b"SECRET=2", "sub/b.txt": b"b"})
    (root / ".dvcignore").write_text(".env\n")
    dvc(root, "add", "data")
    taken = ours(root / "data", hashes)
    assert f"md5: {taken.content.digest}\n" in (root / "data.dvc").read_text()
    assert files(taken) == {"a.txt", "sub/b.txt"}


def test_a_file_inside_of_the_directory_holds_too(dvc: Dvc, tmp_path: Path, hashes: HashCache) -> None:
    """dvc refuses a directory with a .dvcignore in it; what that names stays here all the same."""
    root = dvc_repositories.init(tmp_path / "repository")
    tree(root / "data", {"a.txt": b"a", "sub/.env": b"SECRET", "sub/x/.env": b"SECRET", "sub/x/b": b"b"})
    (root / "data" / "sub" / ".dvcignore").write_text(".env\n")
    assert files(ours(root / "data", hashes)) == {"a.txt", "sub/.dvcignore", "sub/x/b"}
    (root / "data" / "sub" / "x" / ".dvcignore").write_text("!.env\n")
    assert files(ours(root / "data", hashes)) == {
        "a.txt",
        "sub/.dvcignore",
        "sub/x/.dvcignore",
        "sub/x/.env",
        "sub/x/b",
    }
    assert dvc.process(root, "add", "data").returncode != 0


def test_outside_of_a_repository_nothing_is_left_out(tmp_path: Path, hashes: HashCache) -> None:
    tree(tmp_path / "data", {".env": b"1", ".dvcignore": b".env"})
    assert Ignores().selection(tmp_path / "data") is None
    assert files(ours(tmp_path / "data", hashes)) == {".env", ".dvcignore"}


def test_a_repository_inside_is_left_out_and_follows_its_own_rules(
    dvc: Dvc, tmp_path: Path, hashes: HashCache
) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    tree(root / "data", {"a": b"a", "inner/b": b"b", "inner/c": b"c"})
    dvc_repositories.init(root / "data" / "inner")
    (root / ".dvcignore").write_text("a\nb\n!/data/inner/\n")
    (root / "data" / "inner" / ".dvcignore").write_text("c\n")
    taken = ours(root / "data", hashes)
    assert taken.content.files == 0
    assert taken.content.digest == dvc.digest_of(root, root / "data")
    assert files(ours(root / "data" / "inner", hashes)) == {"b", ".dvcignore"}


def test_what_is_left_out_is_not_looked_at(tmp_path: Path, hashes: HashCache) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    tree(root / "data", {"a": b"a"})
    (root / "data" / "broken.tmp").symlink_to("nowhere")
    (root / "data" / "circle.tmp").symlink_to("circle.tmp")
    os.mkfifo(root / "data" / "pipe.tmp")
    (root / "data" / "linked.tmp").symlink_to(tmp_path)
    with pytest.raises(InputError, match=r"pipe\.tmp: is a FIFO"):
        ours(root / "data", hashes)
    (root / ".dvcignore").write_text("*.tmp\n")
    assert files(ours(root / "data", hashes)) == {"a"}


@pytest.mark.parametrize(
    ("line", "named"),
    [("*.env", "secret.env"), ("/data/", "data"), ("data", "data/a"), ("**/a", "data/a")],
)
def test_a_path_that_a_line_names_is_an_error_that_says_which(tmp_path: Path, line: str, named: str) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    tree(root, {"secret.env": b"1", "data/a": b"a"})
    (root / ".dvcignore").write_text(f"# mine\n{line}\n")
    with pytest.raises(InputError) as refused:
        Ignores().selection(root / named)
    assert f"is left out by {root}/.dvcignore:2: {line}, and what .dvcignore names does not leave" in str(
        refused.value
    )


def test_a_repository_in_a_repository_that_is_asked_for_is_one(tmp_path: Path) -> None:
    outer = dvc_repositories.init(tmp_path / "outer")
    inner = dvc_repositories.init(outer / "inner")
    (outer / ".dvcignore").write_text("inner\n")
    assert Ignores().selection(inner) is not None


def test_a_dvcignore_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    tree(root / "data", {"a": b"a"})
    (root / ".dvcignore").write_bytes(b"\xff\xfe\n")
    with pytest.raises(InputError, match=r"\.dvcignore: cannot be read .*must not leave this machine"):
        Ignores().selection(root / "data")
    (root / ".dvcignore").write_text("ok\n!\n")
    with pytest.raises(InputError, match=r"\.dvcignore:2: !: is no pattern that DVC understands"):
        Ignores().selection(root / "data")


def test_a_link_in_the_repository_follows_the_rules_of_where_it_is(
    dvc: Dvc, tmp_path: Path, hashes: HashCache
) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    tree(tmp_path / "disk", {"a.txt": b"a", ".env": b"1"})
    (root / "data").symlink_to(tmp_path / "disk")
    (root / ".dvcignore").write_text("/data/.env\n")
    taken = ours(root / "data", hashes)
    assert files(taken) == {"a.txt"}
    assert taken.content.digest == dvc.digest_of(root, root / "data")


def test_without_rules_all_counts() -> None:
    assert not Rules().ignores("a", False)
    assert Rules().decisive("a", True) is None


def test_dvc_is_not_imported() -> None:
    import subprocess

    code = "import sys, ray_decorator.dvc.ignore as i; print([m for m in sys.modules if m.split('.')[0] == 'dvc'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_the_line_that_names_a_path_or_a_folder_above_it(tmp_path: Path) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    tree(root, {"a.py": b"", "big/a": b"", "big/keep/b": b"", "sub/x.tmp": b"", "sub/y.tmp": b""})
    inner = dvc_repositories.init(tree(root / "inner", {"a.py": b"", "own.py": b""}))
    dvc_repositories.init(tree(root / "hidden", {"a.py": b""}))
    (root / ".dvcignore").write_text("/big/\n*.tmp\n/a.py\n!/big/keep/\nhidden\n")
    (root / "sub" / ".dvcignore").write_text("!y.tmp\n")
    (inner / ".dvcignore").write_text("own.py\n")
    ignores, file = Ignores(), root / ".dvcignore"

    def line(path: str, is_folder: bool = False) -> str | None:
        return ignores.line(str(tmp_path / path), is_folder)

    assert line("repository/big", True) == line("repository/big/keep/b") == f"{file}:1: /big/"
    assert line("repository/sub/x.tmp") == f"{file}:2: *.tmp"
    assert line("repository/a.py") == f"{file}:3: /a.py"
    assert line("repository/hidden/a.py") == f"{file}:5: hidden"
    assert line("repository/inner/own.py") == f"{inner}/.dvcignore:1: own.py"
    for none in ("repository/sub/y.tmp", "repository/inner/a.py", "elsewhere/a.py"):
        assert line(none) is None
    assert line("repository/inner", True) is None and line("repository", True) is None
