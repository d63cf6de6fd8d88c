"""What of a project is no code to DVC."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from projects import git
from trees import tree

from ray_decorator.dvc import config
from ray_decorator.dvc.no_code import NoCode

TRACKER = b"outs:\n- {md5: '11111111111111111111111111111111', hash: md5, size: 1, path: raw}\n"


def test_data_counts_where_there_is_no_git_and_what_a_dvcignore_names_everywhere(tmp_path: Path) -> None:
    for name, with_git in (("plain", False), ("git", True)):
        root = tree(tmp_path / name, {"raw.dvc": TRACKER, "raw/a": b"1", "sub/raw.dvc": TRACKER})
        tree(root, {".dvc/config": b"", ".dvcignore": b"*.tmp\n"})
        if with_git:
            git(root, "init", "-q")
        told = NoCode()
        for path in ("raw", "sub/raw"):
            assert (
                told.stays(str(root / path), True) == told.is_data(str(root / path), True) == (not with_git)
            )
        assert told.stays(str(root / "x.tmp"), False) and not told.is_data(str(root / "x.tmp"), False)
        assert not told.stays(str(root / "raw.dvc"), False) and not told.stays(str(tmp_path / "raw"), True)


def test_git_is_looked_for_once_a_repository_and_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path, {".dvc/config": b"", "a/x.py": b"", "b/x.py": b"", "c/d/x.py": b""})
    git(root, "init", "-q")
    read: list[str] = []
    load = config.load
    monkeypatch.setattr(config, "load", lambda of: [read.append(of), load(of)][1])
    monkeypatch.setattr(subprocess, "run", lambda *told, **_: pytest.fail(f"started {told}"))
    told = NoCode()
    assert not any(told.is_data(str(root / path), False) for path in ("a/x.py", "b/x.py", "c/d/x.py"))
    assert read == [str(root)]
