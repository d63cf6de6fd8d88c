"""In a directory that is a DVC remote, what we put has the modes that the real dvc gives to it."""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path

import dvc_repositories
import pytest
from dvc_repositories import Dvc
from trees import QUIET, tree

from ray_decorator.core.values.model import PathSlot
from ray_decorator.dvc.remote import find
from ray_decorator.run.data.staging import Staging
from ray_decorator.store.dvc_directory import protect
from ray_decorator.store.transfer import Snapshot


def modes(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): stat.filemode(path.stat().st_mode) for path in root.rglob("*")}


@pytest.mark.parametrize("shared", ["", "shared = group\n"])
def test_modes_are_those_of_dvcs_push(
    dvc: Dvc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = dvc_repositories.init(tmp_path / "repository")
    (root / ".dvc" / "config").write_text(
        f"[core]\nno_scm = true\nremote = a\n['remote \"a\"']\nurl = ../../by/dvc\n{shared}"
        f"['remote \"b\"']\nurl = ../../by/us\n{shared}"
    )
    tree(root / "data", {"a": b"1", "sub/b": b"22"})
    with contextlib.chdir(root), dvc.repo() as repo:
        repo.add("data")
        repo.push()
    remote = find(str(root), "b")
    staging = Staging(remote.url, "driver", remote.account, is_remote=True)
    slot = PathSlot.at((0,), "data", root / "data")
    taken = staging.hash([slot], QUIET)[slot.real]
    assert isinstance(taken, Snapshot)
    staging.push([taken], QUIET)
    by = tmp_path / "by"
    assert modes(by / "us" / "files") == modes(by / "dvc" / "files")
    assert modes(by)["us"] == modes(by)["dvc"]
    staging.push_code([("a.py", str(root / "data" / "a"))], QUIET)
    ours = modes(by / "us" / "ray_s3")
    assert {mode for mode in ours.values() if mode[0] == "d"} == {modes(by / "us")["files"]}


def test_an_object_that_is_gone_needs_no_protection(tmp_path: Path) -> None:
    protect(str(tmp_path / "gone"))
