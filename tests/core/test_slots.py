"""Dotted keys: what they find, what they fill, and how a wrong one is explained."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from omegaconf import DictConfig, OmegaConf

from ray_decorator.core import slots

HOME = Path("/home/me")


class Side(enum.Enum):
    LEFT = 1


class Pair(NamedTuple):
    one: str
    two: str


@dataclass
class Data:
    path: str = "d"
    files: list[str] = field(default_factory=lambda: ["f0", "f1"])


@dataclass(frozen=True)
class Frozen:
    path: Path = Path("d")


def found(root: Any, *keys: str, kind: str = "deps", hidden: str = "") -> dict[str, str]:
    """key -> path."""
    paths, problems = slots.find(root, keys, kind=kind, start=HOME, hidden=hidden)
    assert problems == ()
    return {path.key: str(path.value) for path in paths}


def wrong(root: Any, *keys: Any, hidden: str = "") -> Sequence[str]:
    return slots.find(root, keys, kind="deps", start=HOME, hidden=hidden)[1]


ROOTS = {
    "dict": {"data": {"path": "d", "files": ["f0", "f1"]}},
    "config": OmegaConf.create({"data": {"path": "d", "files": ["f0", "f1"]}}),
    "structured config": OmegaConf.structured({"data": Data}),
    "object": partial(print, data=Data()),
    "partial": {"data": partial(print, path="d", files=("f0", "f1"))},
}


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS.keys())
class TestFindInAnything:
    def test_a_key(self, root: Any) -> None:
        assert found(root, "data.path") == {"data.path": "/home/me/d"}

    def test_an_index(self, root: Any) -> None:
        assert found(root, "data.files.1") == {"data.files.1": "/home/me/f1"}

    def test_a_list_is_a_slot_for_each_item(self, root: Any) -> None:
        files = {"data.files.0": "/home/me/f0", "data.files.1": "/home/me/f1"}
        assert found(root, "data.files") == found(root, "data.files.*") == files

    def test_a_star_stands_for_each_key_that_has_the_rest(self, root: Any) -> None:
        assert found(root, "*.path") == {"data.path": "/home/me/d"}
        assert set(found(root, "data.*")) == {"data.path", "data.files.0", "data.files.1"}


class TestFind:
    def test_a_key_that_is_named_twice_is_one_slot(self) -> None:
        assert list(found({"a": "x", "b": "y"}, "a", "*", "a")) == ["a", "b"]

    def test_paths_begin_at_start_and_a_tilde_at_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/root of mine")
        root = {"a": "x", "b": "/abs", "c": "~/x", "d": "~", "e": "~name", "f": Path("p")}
        assert found(root, "*") == {
            "a": "/home/me/x",
            "b": "/abs",
            "c": "/root of mine/x",
            "d": "/root of mine",
            "e": "/home/me/~name",
            "f": "/home/me/p",
        }

    def test_null_is_skipped_alone_and_in_lists(self) -> None:
        assert found({"a": None, "b": [None, "x"], "c": {}}, "a", "b", "c") == {"b.1": "/home/me/x"}

    def test_keys_that_are_no_text(self) -> None:
        root = {1: "one", Side.LEFT: "left"}
        assert found(root, "1", "LEFT") == {"1": "/home/me/one", "LEFT": "/home/me/left"}

    def test_interpolations_are_followed(self) -> None:
        root = OmegaConf.create({"base": "b", "path": "${base}/x", "alias": "${node}", "node": {"path": "y"}})
        assert found(root, "path", "alias.path") == {"path": "/home/me/b/x", "alias.path": "/home/me/y"}

    def test_what_is_hidden_is_no_key_at_the_top_alone(self) -> None:
        root = {"hydra": {"dir": "x"}, "a": {"hydra": "y"}}
        assert found(root, "*.hydra", hidden="hydra") == {"a.hydra": "/home/me/y"}
        [problem] = wrong(root, "hydra.dir", hidden="hydra")
        assert problem == "deps key 'hydra.dir' does not exist. Nearest: 'a.hydra'"
        [problem] = wrong({"hydra": {"dir": "x"}, "a": "y"}, "hydra.dir", hidden="hydra")
        assert problem == "deps key 'hydra.dir' does not exist. Keys there are: 'a'"

    def test_private_attributes_are_found_by_name_alone(self) -> None:
        class Own:
            def __init__(self) -> None:
                self.path, self._hidden = "d", "h"

        assert found(Own(), "*") == {"path": "/home/me/d"}
        assert found(Own(), "_hidden") == {"_hidden": "/home/me/h"}


class TestProblems:
    @pytest.mark.parametrize(
        ("root", "key", "message"),
        [
            (
                {"data": {"path": "x"}},
                "data.pth",
                "deps key 'data.pth' does not exist. Nearest: 'data.path', 'data'",
            ),
            ({"data": {"path": "x"}}, "dta.path", "deps key 'dta.path' does not exist. Nearest: 'data.path'"),
            ({"a": {"b": {"path": "x"}}}, "path", "deps key 'path' does not exist. Nearest: 'a.b.path'"),
            ({"one": 1, "two": 2}, "x.y", "deps key 'x.y' does not exist. Keys there are: 'one', 'two'"),
            ({}, "x", "deps key 'x' does not exist. There are no keys at all."),
            ({"a": ["x"]}, "a.1", "deps key 'a.1' does not exist. Nearest: 'a.0'"),
            ({"a": "x"}, "a.b", "deps key 'a.b' does not exist. Keys there are: 'a'"),
            ({"a": {}}, "a.*.b", "deps key 'a.*.b' does not exist. Keys there are: 'a'"),
            ({"a": 3}, "a", "deps key 'a' is 3 (int); expected a path, a list or dict of paths, or null"),
            (
                {"a": ["x", 3]},
                "a",
                "deps key 'a.1' is 3 (int); expected a path, a list or dict of paths, or null",
            ),
            ({"a": ""}, "a", "deps key 'a' is '', which is not a path"),
            ({"a": "x\0"}, "a", r"deps key 'a' is 'x\x00', which is not a path"),
            (
                {"a": "s3://bucket/x"},
                "a",
                "deps key 'a' is the URL 's3://bucket/x'; deps are local paths (the task itself can read a URL, "
                "without naming it here)",
            ),
            ({"a": "x"}, "", "deps key '' is not a dotted key such as 'data.path'"),
            ({"a": "x"}, "a..b", "deps key 'a..b' is not a dotted key such as 'data.path'"),
            ({"a": "x"}, 3, "deps key 3 is not a dotted key such as 'data.path'"),
        ],
    )
    def test_each_is_explained(self, root: Any, key: Any, message: str) -> None:
        assert wrong(root, key) == (message,)

    def test_a_config_says_why_it_has_no_value(self) -> None:
        root = OmegaConf.create({"a": "???", "b": "${nowhere}"})
        assert wrong(root, "a") == ("deps key 'a' has no value: Missing mandatory value: a",)
        [problem] = wrong(root, "b")
        assert problem == "deps key 'b' has no value: Interpolation key 'nowhere' not found"

    def test_each_wrong_key_is_named_and_the_others_are_found(self) -> None:
        paths, problems = slots.find({"a": "x"}, ["b", "a", "c"], kind="outs", start=HOME)
        assert [path.key for path in paths] == ["a"]
        assert [problem.split(" does")[0] for problem in problems] == ["outs key 'b'", "outs key 'c'"]

    def test_absent_deps_are_named_with_how_to_fetch_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "there").touch()
        (tmp_path / "dangling").symlink_to("nowhere")
        paths, _ = slots.find(
            {"a": "there", "b": "gone", "c": "dangling"}, ["*"], kind="deps", start=tmp_path
        )
        assert slots.absent(paths) == [
            f"deps key 'b' is {tmp_path}/gone, which does not exist. Fetch it first (with DVC: `dvc pull gone`), "
            "or correct the key's value"
        ]


def filled(root: Any, *keys: str) -> Any:
    """``root`` with /new/0, /new/1… at the slots of its keys."""
    paths, problems = slots.find(root, keys, kind="outs", start=HOME)
    assert problems == ()
    for number, path in enumerate(paths):
        root = slots.fill(root, path.slot, f"/new/{number}")
    return root


class TestFill:
    def test_dicts_and_lists_in_place(self) -> None:
        root = {"a": ["x", {"b": "y"}], 1: "z"}
        assert filled(root, "a", "1") is root
        assert root == {"a": ["/new/0", {"b": "/new/1"}], 1: "/new/2"}

    def test_a_path_stays_a_path_and_a_text_a_text(self) -> None:
        assert filled({"a": Path("x"), "b": "y"}, "*") == {"a": Path("/new/0"), "b": "/new/1"}
        assert filled(OmegaConf.create({"a": Path("x"), "b": "y"}), "*") == {
            "a": Path("/new/0"),
            "b": "/new/1",
        }

    def test_tuples_and_named_tuples_become_others_of_their_kind(self) -> None:
        root = {"pair": Pair("x", "y"), "two": ("x", "y")}
        assert filled(root, "pair.1", "two.0") == {"pair": Pair("x", "/new/0"), "two": ("/new/1", "y")}
        assert isinstance(filled(root, "pair.0")["pair"], Pair)

    def test_partials_are_copied(self) -> None:
        root = partial(dict, path="x", other=1)
        copy = filled(root, "path")
        assert copy() == {"path": "/new/0", "other": 1} and root.keywords["path"] == "x"
        assert copy.func is root.func and copy.args == root.args

    def test_objects_in_place_the_frozen_too(self) -> None:
        data, frozen = Data(), Frozen()
        assert filled(data, "path", "files.1") is data
        assert (data.path, data.files) == ("/new/0", ["f0", "/new/1"])
        assert filled(frozen, "path") is frozen and frozen.path == Path("/new/0")

    def test_configs_in_place_the_read_only_too(self) -> None:
        root = OmegaConf.create({"a": {"b": "x"}, "c": ["y"]})
        OmegaConf.set_readonly(root, True)
        assert filled(root, "a.b", "c.0") is root
        assert root == {"a": {"b": "/new/0"}, "c": ["/new/1"]}
        assert OmegaConf.is_readonly(root)

    def test_what_others_refer_to_follows(self) -> None:
        root = OmegaConf.create({"base": "b", "path": "${base}/x", "twin": "${base}"})
        filled(root, "base")
        assert OmegaConf.to_container(root, resolve=True) == {
            "base": "/new/0",
            "path": "/new/0/x",
            "twin": "/new/0",
        }

    def test_an_interpolation_is_replaced_where_it_stands(self) -> None:
        root = OmegaConf.create({"base": "b", "path": "${base}/x"})
        filled(root, "path")
        assert OmegaConf.to_container(root) == {"base": "b", "path": "/new/0"}

    def test_what_an_interpolation_leads_to_here_does_not_matter(self) -> None:
        root = OmegaConf.create({"path": "${nowhere}"})
        assert slots.fill(root, ("path",), "/new") == {"path": "/new"}

    def test_what_a_resolver_makes_anew_each_time_is_kept_once_filled(self) -> None:
        OmegaConf.register_new_resolver("made", lambda: DictConfig({"path": "x"}), replace=True)
        try:
            root = OmegaConf.create({"node": "${made:}"})
            assert found(root, "node.path") == {"node.path": "/home/me/x"}
            filled(root, "node.path")
            assert root.node.path == "/new/0"
        finally:
            OmegaConf.clear_resolver("made")

    def test_enum_and_number_keys_of_configs(self) -> None:
        root = OmegaConf.create({1: "x", Side.LEFT: "y"})
        filled(root, "1", "LEFT")
        assert root == {1: "/new/0", Side.LEFT: "/new/1"}

    def test_an_empty_slot_is_the_value_itself(self) -> None:
        assert slots.fill("x", (), "/new") == "/new"
        assert slots.fill(Path("x"), (), "/new") == Path("/new")


def test_four_hundred_keys_are_found_and_filled() -> None:
    root = {"data": {f"n{n}": {"file": f"f{n}", "other": 1} for n in range(400)}}
    paths, problems = slots.find(root, ["data.*.file"], kind="deps", start=HOME)
    assert problems == () and len(paths) == 400
    for path in paths:
        slots.fill(root, path.slot, f"/there/{path.value.name}")
    assert root["data"]["n7"] == {"file": "/there/f7", "other": 1}
