"""The doctor says of data that is not here where jobs would get it from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dvc_repositories
import pytest
from trees import tree

from ray_decorator.doctor.dvc_data import check
from ray_decorator.store.identity import locate


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("pushed")
    root = dvc_repositories.init(base / "repository")
    tree(root, {"data/a": b"1", "data/b": b"22", "one.bin": b"one", "two.bin": b"two", "here.bin": b"h"})
    dvc_repositories.add(root, "data", "one.bin")
    dvc_repositories.push_all(root, base / "store")
    dvc_repositories.add(root, "two.bin", "here.bin")
    for name in ("one.bin", "two.bin"):
        (root / name).unlink()
    shutil.rmtree(root / "data")
    return base


@pytest.fixture
def root(pushed: Path, tmp_path: Path) -> Path:
    shutil.copytree(pushed, tmp_path, dirs_exist_ok=True)
    return tmp_path / "repository"


def test_where_each_would_come_from(root: Path, tmp_path: Path) -> None:
    found = check(str(root), locate((tmp_path / "store").as_uri()))
    assert (found.status, found.cure) == ("ok", None)
    assert found.facts[0] == f"{root}: 4 outputs that DVC tracks, 3 of them not on this disk"
    assert "2: the store has it, and jobs fetch it there" in found.facts
    assert "  data (3 B): the store has it, and jobs fetch it there" in found.facts
    assert "  two.bin (3 B): DVC's cache has it, and it is uploaded from there" in found.facts


def test_what_nobody_has_is_a_warning_with_the_cure(root: Path) -> None:
    shutil.rmtree(root / ".dvc" / "cache")
    found = check(str(root), None)
    assert (found.status, found.cure) == ("warning", "a job that reads these needs `dvc pull` first")
    assert "3: neither the store nor DVC's cache has it" in found.facts


@pytest.mark.app
def test_the_command_shows_it(root: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "RAY_S3_BASE_PATH": "dvc"}
    environ.pop("RAY_ADDRESS", None)
    done = subprocess.run(
        [sys.executable, "-m", "ray_decorator", "doctor", "ray_address=127.0.0.1:1"],
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert f"store: {(tmp_path / 'store').as_uri()} (dvc)" in done.stdout
    assert "data (3 B): the store has it, and jobs fetch it there" in done.stdout
