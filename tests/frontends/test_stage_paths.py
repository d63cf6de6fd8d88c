"""Which paths of calls travel: those that keys name, and those of the DVC stage that runs."""

from __future__ import annotations

import logging
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from ray_decorator.core.errors import InputError
from ray_decorator.frontends import calls
from ray_decorator.frontends.stage_paths import StagePaths
from ray_decorator.frontends.terms import Terms, make_terms

PIPELINE = """
stages:
  train:
    cmd: python train.py
    deps: [train.py, data, far/one.txt]
    outs:
      - models
      - last.ckpt: {persist: true}
    metrics: [metrics.json]
"""
CONFIG = """
data: {path: data, train: data/train.csv, name: something, url: 's3://data/x'}
folder: far
paths: {ready: '${data.path}', root: .}
model: {path: 'models/${name}.pkl', weights: '???', lost: '${gone}'}
name: svm
checkpoint: last.ckpt
metrics: [metrics.json]
hydra: {data: data}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "train")
    return tmp_path


@pytest.fixture(autouse=True)
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "ray_decorator.frontends.stage_paths")
    return caplog


def config(text: str = CONFIG) -> DictConfig:
    made = OmegaConf.create(text)
    assert isinstance(made, DictConfig)
    return made


def keys(paths: Any) -> list[str]:
    return [path.key for path in paths]


def test_those_of_the_stage_are_the_values_that_name_them_or_what_is_in_them(home: Path, lines: Any) -> None:
    paths = StagePaths(make_terms("dvc", "dvc", (), {}), home, hidden="hydra")
    found = paths.find(config())
    assert keys(found.deps) == ["data.path", "data.train", "paths.ready"]
    assert keys(found.outs) == ["model.path", "checkpoint", "metrics.0"]
    assert [path.value for path in found.outs] == [
        home / "models/svm.pkl",
        home / "last.ckpt",
        home / "metrics.json",
    ]
    assert found.problems == ()
    paths.tell()
    paths.tell()
    assert [line.getMessage() for line in lines.records] == [
        "Stage 'train' of dvc.yaml: deps data.path, data.train, paths.ready (no key names train.py, far/one.txt "
        "(it is below 'folder'): jobs have them as code, if at all); outs model.path, checkpoint, metrics.0"
    ]


def test_what_dvc_leaves_for_the_next_run_is_read_too(home: Path) -> None:
    (home / "last.ckpt").write_text("half")
    found = StagePaths(make_terms("dvc", "dvc", (), {}), home, hidden="hydra").find(config())
    assert keys(found.deps) == ["data.path", "data.train", "paths.ready", "checkpoint"]


def test_a_link_into_dvcs_cache_is_the_path_that_it_is_at(home: Path) -> None:
    (home / "data").rmdir()
    (home / ".dvc" / "cache").mkdir()
    (home / "data").symlink_to(home / ".dvc" / "cache")
    (home / "linked").symlink_to(home)
    text = f"{{a: {home}/linked/data, b: ../{home.name}/data, c: .dvc/cache}}"
    found = StagePaths(make_terms("dvc", None, (), {}), home).find(config(text))
    assert keys(found.deps) == ["a", "b"]


def test_a_directory_above_outs_is_an_out_where_no_other_value_names_them(
    home: Path, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", "Train")
    stage = "{cmd: x, deps: [data/a], outs: [live/plots], metrics: [live/m, n]}"
    (home / "dvc.yaml").write_text(f"stages: {{Train: {stage}}}")
    for text, key, left in (
        ("{live: {dir: live}, root: ., home: ~, data: data}", "live.dir", "n"),
        ("{live: {dir: live, m: live/m}}", "live.m", "live/plots (it is below 'live.dir'), n"),
    ):
        lines.clear()
        paths = StagePaths(make_terms("dvc", "dvc", (), {}), home)
        found = paths.find(config(text))
        assert (keys(found.deps), keys(found.outs)) == ([], [key])
        paths.tell()
        assert "Stage 'Train' of dvc.yaml: deps none (no key names data/a" in lines.text
        assert f"No key names {left}, which stage 'Train'" in lines.text
    lines.clear()
    listed = StagePaths(Terms((), ("live.dir",)), home)
    listed.find(config("{live: {dir: live}}"))
    listed.tell()
    assert not lines.records


def test_an_out_that_no_key_names_is_a_warning_unless_jobs_directories_hold_it(
    home: Path, lines: Any
) -> None:
    for workspace, warned in ((home / "elsewhere" / "0", True), (home / "models" / "0", False)):
        lines.clear()
        paths = StagePaths(make_terms(None, "dvc", (), {}), home)
        paths.find(config("{checkpoint: last.ckpt, m: metrics.json}"), workspace)
        paths.tell()
        warnings = [line.getMessage() for line in lines.records if line.levelno == logging.WARNING]
        assert bool(warnings) == warned
        if warned:
            assert warnings[0].startswith("No key names models, which stage 'train' of dvc.yaml writes: ")


def test_lists_that_differ_from_the_stage_are_one_warning(home: Path, lines: Any) -> None:
    terms = Terms(("data.train", "name", "checkpoint"), ("model.path", "other"))
    paths = StagePaths(terms, home, hidden="hydra")
    found = paths.find(OmegaConf.merge(config(), {"other": "o", "log": "run/0/log"}), home / "run" / "0")
    assert (keys(found.deps), keys(found.outs)) == (
        ["data.train", "name", "checkpoint"],
        ["model.path", "other"],
    )
    paths.tell()
    assert [(line.levelname, line.getMessage()) for line in lines.records] == [
        (
            "WARNING",
            "The keys differ from stage 'train' of dvc.yaml: deps has 'name' (svm), which is none of the stage's; "
            "'data.path' is data, one of the stage's deps, and not in the list; 'paths.ready' is data, one of the "
            "stage's deps, and not in the list; outs has 'other' (o), which is none of the stage's; 'checkpoint' is "
            "last.ckpt, one of the stage's outs, and not in the list; 'metrics.0' is metrics.json, one of the "
            "stage's outs, and not in the list",
        )
    ]


def test_lists_that_say_the_same_are_no_matter_for_a_line(
    home: Path, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = Terms(("data",), ("model.path", "checkpoint", "metrics", "log"))
    paths = StagePaths(terms, home, hidden="hydra")
    wide = OmegaConf.merge(config("{data: data, model: {path: models/a}, metrics: [metrics.json]}"))
    wide = OmegaConf.merge(wide, {"checkpoint": "last.ckpt", "log": "run/0/log"})
    paths.find(wide, home / "run" / "0")
    paths.tell()
    monkeypatch.setenv("DVC_STAGE", "of another program")
    StagePaths(terms, home).tell()
    monkeypatch.delenv("DVC_STAGE")
    StagePaths(terms, home).tell()
    assert lines.records == []


def test_without_a_stage_the_word_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "gone")
    with pytest.raises(InputError, match="DVC_STAGE is 'gone'"):
        StagePaths(make_terms("dvc", None, (), {}), home)


def test_arguments_of_a_function_are_looked_through_as_a_config_is(home: Path) -> None:
    def task(args: Any, model: Path) -> None: ...

    own: list[Any] = [Path("data")]
    own.append(own)
    given = {"args": Namespace(data="data", deep={"x": own}, other=object()), "model": Path("models/a")}
    request = calls.Request((), given, given, lambda slot: ("kwargs", *slot), "task")
    [call] = calls._calls(task, [request], make_terms("dvc", "dvc", (), {}))
    assert (keys(call.deps), keys(call.outs)) == (["args.data", "args.deep.x.0"], ["model"])


def test_both_are_carried_where_one_front_door_has_a_list_and_another_the_word(home: Path) -> None:
    terms = Terms((), ("name",)).over(make_terms("dvc", None, (), {}))
    paths = StagePaths(terms, home, hidden="hydra")
    assert paths.carries_data and not StagePaths(Terms(), home).carries_data
    found = paths.find(config())
    assert (keys(found.deps), keys(found.outs)) == (["data.path", "data.train", "paths.ready"], ["name"])
    assert re.match("outs has 'name'", "; ".join(paths._differences("outs")))
