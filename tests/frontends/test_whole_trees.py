"""Whatever a function leaves at a path, it is the same at home wherever the function ran."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from whole_trees import TREES, Tree, build, described

from ray_decorator.frontends.decorator import ray_decorator

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(params=["embedded", "store"], autouse=True)
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("RAY_S3_BASE_PATH", raising=False)
    if request.param == "store":
        monkeypatch.setenv("RAY_S3_BASE_PATH", (tmp_path / "store").as_uri())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@ray_decorator(outs=["outs.*"])
def make(trees: dict[str, Tree], outs: dict[str, str]) -> None:
    for name, tree in trees.items():
        build(Path(outs[name]), tree)


@ray_decorator(deps=["deps.*"])
def tell(deps: dict[str, str]) -> dict[str, dict[str, tuple[object, ...]]]:
    return {name: described(Path(path)) for name, path in deps.items()}


@ray_decorator(deps=["path"], outs=["path"])
def go_on(path: str) -> dict[str, tuple[object, ...]]:
    before = described(Path(path))
    (Path(path) / "added").mkdir()
    (Path(path) / "newest").symlink_to("added")
    return before


def test_outs_are_as_after_a_local_run(home: Path) -> None:
    make.local(TREES, {name: str(home / "local" / name) for name in TREES})
    make(TREES, {name: str(home / "ray" / name) for name in TREES})
    for name in TREES:
        assert described(home / "ray" / name) == described(home / "local" / name), name


def test_deps_are_as_at_home(home: Path) -> None:
    for name, tree in TREES.items():
        build(home / name, tree)
    deps = {name: str(home / name) for name in TREES}
    assert tell(deps) == tell.local(deps)


@pytest.mark.parametrize("name", TREES)
def test_a_key_that_is_read_and_written(home: Path, name: str) -> None:
    build(home / "tree", TREES[name])
    expected = described(home / "tree")
    assert go_on(str(home / "tree")) == expected
    added = {"added": ("directory", "0o55"), "newest": ("link", "added")}
    assert described(home / "tree") == {**expected, **added}


@ray_decorator(outs=["out"])
def leave(out: str, elsewhere: str) -> None:
    root = build(Path(out), {"f": b"f", ".git/config": b"c", "sub/.dvc/x": b"x", "gone": "nowhere"})
    os.mkfifo(root / "fifo")
    (root / "file").symlink_to(f"{elsewhere}/f")
    (root / "folder").symlink_to(elsewhere)


def test_what_is_left_out_of_an_out_is_the_same_with_and_without_a_store(home: Path) -> None:
    build(home / "elsewhere", {"f": b"elsewhere"})
    leave("out", str(home / "elsewhere"))
    assert described(home / "out") == {
        "f": ("file", "0o44", b"f"),
        "file": ("file", "0o44", b"elsewhere"),
        "sub": ("directory", "0o55"),
    }
