"""A job's process on another machine: the user's code is put down, importable, and where the job runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trees import sent, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.job.process import workplace
from ray_decorator.store.identity import locate
from ray_decorator.store.store import open_store

FILES = {
    "app/train.py": b"import helper\nsaid = helper.said\n",
    "app/helper.py": b"said = 'of the project'\n",
    "lib/mine/__init__.py": b"said = 'of an editable install'\n",
}

PROGRAM = """
import json, os, pickle, subprocess, sys
from pathlib import Path
from ray_decorator.core.values.bundles import Bundle, Code; from ray_decorator.core.values.contents import Content
from ray_decorator.core.paths import Folder
from ray_decorator.job.process import workplace
from ray_decorator.store.identity import locate
from ray_decorator.store.store import open_store

given = json.loads(sys.stdin.read())
content = Content(**given["content"])
roots = (Folder("/home/me/shop", True), Folder("/home/me", False))
code = Code(content, ("app",), {"mine": "lib/mine"}, given["cwd"], given["main"], roots) if given["code"] else None
bundle = Bundle(None, code, Folder("/home/me/shop/runs", True))
working_dir = Path(given["working_dir"]) if given["working_dir"] else None
told = {}
with workplace.workplace(bundle, open_store(locate(given["store"])), working_dir):
    told["cwd"], told["start"], told["main"] = os.getcwd(), str(workplace.start_directory()), workplace.main_script()
    if code is not None:
        import mine, train
        told["said"] = [train.said, mine.said]
        told["is code"] = [workplace.is_code(train.__file__), workplace.is_code(os.__file__)]
        child = [sys.executable, "-c", "import mine, train; print(train.said, mine.said)"]
        told["child"] = subprocess.run(child, capture_output=True, text=True, check=True).stdout.strip()
        told["pyc"] = [str(path) for path in Path(told["main"] or told["cwd"]).parent.rglob("*.pyc")]
    told["here"] = [workplace.here(path) for path in given.get("paths", [])]
print(json.dumps(told))
"""


@pytest.fixture
def given(tmp_path: Path, hashes: HashCache) -> dict[str, Any]:
    url = (tmp_path / "store").as_uri()
    content = sent(tree(tmp_path / "code", FILES), open_store(locate(url)), hashes).content
    described = {"digest": content.digest, "size": content.size, "files": content.files}
    return {
        "content": described, "store": url, "code": True, "cwd": "app", "main": "app/train.py", "working_dir": None
    }  # fmt: skip


def told(given: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    environ = {**os.environ, "RAY_S3_NODE_DIR": str(tmp_path / "node"), "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(given),
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_code_can_be_imported_here_and_in_processes_that_the_job_starts(
    given: dict[str, Any], tmp_path: Path
) -> None:
    said = told(given, tmp_path)
    assert said["said"] == ["of the project", "of an editable install"]
    assert said["child"] == "of the project of an editable install"
    assert said["is code"] == [True, False]
    assert said["pyc"] == []  # the code stays as it is, for others to use


def test_the_job_runs_where_the_driver_was_started(given: dict[str, Any], tmp_path: Path) -> None:
    said = told(given, tmp_path)
    assert said["cwd"] == said["start"] and said["cwd"].endswith("/code/app")
    assert said["main"] == f"{said['cwd']}/train.py"
    assert said["cwd"].startswith(str(tmp_path / "node"))


def test_a_directory_outside_of_the_code_is_an_empty_one(given: dict[str, Any], tmp_path: Path) -> None:
    said = told({**given, "cwd": None, "main": None}, tmp_path)
    assert said["cwd"].endswith("/cwd") and said["main"] is None


@pytest.mark.parametrize("code", [True, False])
def test_the_users_working_dir_wins(code: bool, given: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert told({**given, "code": code, "working_dir": str(tmp_path / "mine")}, tmp_path)["cwd"] == str(
        tmp_path / "mine"
    )


def test_without_code_the_directory_is_an_empty_one(given: dict[str, Any], tmp_path: Path) -> None:
    said = told({**given, "code": False}, tmp_path)
    assert said["cwd"].endswith("/cwd") and said["main"] is None


def test_what_stands_for_the_drivers_folders(given: dict[str, Any], tmp_path: Path) -> None:
    paths = [
        "/home/me/shop",
        "/home/me/shop/a/b",
        "/home/me/shopping",
        "/home/me",
        "/home/me/data",
        "/",
        "/etc",
    ]
    said = told({**given, "paths": [*paths, "/home/me/shop/runs/x"]}, tmp_path)
    code = said["cwd"].removesuffix("/app")
    assert said["here"] == [
        f"{code}/0",
        f"{code}/0/a/b",
        None,
        f"{code}/1",
        None,
        None,
        None,
        f"{said['cwd']}/x",
    ]
    said = told({**given, "code": False, "paths": ["/home/me/shop/runs/x", "/home/me/shop"]}, tmp_path)
    assert said["here"] == [f"{said['cwd']}/x", None]


def test_on_the_drivers_own_machine_nothing_is_set_up() -> None:
    assert workplace.here("/") is None
    assert (workplace.start_directory(), workplace.main_script()) == (None, None)
    assert not workplace.is_code(__file__)
