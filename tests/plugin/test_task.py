"""What runs on the worker for a Hydra job: Hydra's own run_job, with this machine's paths in the config."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime
from omegaconf import DictConfig, OmegaConf
from plugin_app import app

from hydra_plugins.hydra_ray_s3_launcher._compose import ComposedJob, Composer
from hydra_plugins.hydra_ray_s3_launcher._task import HydraTask
from ray_decorator.core.paths import Folder
from ray_decorator.core.values.model import Paths
from ray_decorator.frontends import hydra_state
from ray_decorator.frontends.script import main_module
from ray_decorator.frontends.script import settings as script_settings
from ray_decorator.frontends.stage_paths import StagePaths
from ray_decorator.frontends.terms import Terms
from ray_decorator.job.process import workplace


class Home:
    """An app at home, with one composed job."""

    def __init__(self, directory: Path, *overrides: str) -> None:
        self.there = directory / "there"  # the worker's
        self.there.mkdir()
        (directory / "data").mkdir()
        with app(directory, "{x: 1, data: {path: data}, model: {path: m}}", *overrides) as (context, config):
            JobRuntime.instance().set("name", "app")
            paths = StagePaths(Terms(("data.path",), ("model.path",)), directory, hidden="hydra")
            self.job: ComposedJob = Composer(context.config_loader, config, paths).compose(["x=3"], 0)
            self.state = hydra_state.captured()
            self.context = context

    def run(self, function: Any, workspace: Path) -> Any:
        task = HydraTask(
            function,
            self.context,
            self.state,
            main_module.Main({}, {}, None, None, script_settings.captured()),
        )
        travelled = cloudpickle.loads(cloudpickle.dumps(task))
        paths = Paths((str(self.there / "d"),), (str(self.there / "m"),), str(workspace))
        return travelled(self.job.call(b"").payload, paths)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield Home(tmp_path)
    root.handlers[:], root.level = handlers, level  # run_job configures logging


def told(config: DictConfig) -> dict[str, Any]:
    plain: dict[str, Any] = OmegaConf.to_container(config)  # type: ignore[assignment]
    return plain | {"output": HydraConfig.get().runtime.output_dir}


def test_the_task_sees_this_machines_paths(home: Home) -> None:
    seen = home.run(told, home.there / "work")
    assert seen == {
        "x": 3,
        "data": {"path": str(home.there / "d")},
        "model": {"path": str(home.there / "m")},
        "output": str(home.there / "work"),
    }


def test_what_hydra_saves_has_the_paths_of_home(home: Home, tmp_path: Path) -> None:
    home.run(told, home.there / "work")
    saved = home.there / "work" / ".hydra"
    assert OmegaConf.load(saved / "config.yaml") == {"x": 3, "data": {"path": "data"}, "model": {"path": "m"}}
    assert OmegaConf.load(saved / "overrides.yaml") == ["x=3"]
    hydra = OmegaConf.load(saved / "hydra.yaml").hydra
    assert (hydra.sweep.dir, hydra.sweep.subdir) == (str(tmp_path / "sweep"), 0)
    assert hydra.runtime.output_dir == str(tmp_path / "sweep" / "0")


def test_in_the_jobs_own_directory_nothing_is_moved(home: Home) -> None:
    assert home.run(told, home.job.directory)["output"] == str(home.job.directory)
    assert (home.job.directory / ".hydra" / "hydra.yaml").exists()


def test_the_directory_is_not_resolved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPS", str(tmp_path / "at home"))
    home = Home(tmp_path, "hydra.sweep.dir=${oc.env:SWEEPS}", "hydra.job.env_copy=[SWEEPS]")
    monkeypatch.delenv("SWEEPS")

    def seen(config: DictConfig) -> list[str]:
        return [HydraConfig.get().runtime.output_dir, HydraConfig.get().sweep.dir, os.environ["SWEEPS"]]

    at_home = str(tmp_path / "at home")
    assert home.run(seen, home.job.directory) == [f"{at_home}/0", at_home, at_home]
    assert home.run(seen, home.there / "work") == [str(home.there / "work"), str(home.there), at_home]
    monkeypatch.setattr(workplace, "_stands_for", [(Folder(str(tmp_path), True), home.there)])
    monkeypatch.setattr(workplace, "_start", home.there)
    assert home.run(seen, home.there / "work")[2] == str(home.there / "at home")
    for directory in (home.job.directory, home.there / "work"):
        saved = OmegaConf.load(directory / ".hydra" / "hydra.yaml").hydra
        assert OmegaConf.to_container(saved.sweep, resolve=False)["dir"] == "${oc.env:SWEEPS}"  # type: ignore[index,call-overload]
        assert saved.job.env_set == {"SWEEPS": at_home}


def test_an_exception_is_raised_and_stands_in_the_jobs_log(home: Home) -> None:
    def fails(config: DictConfig) -> None:
        logging.getLogger("mine").info("so far so good")
        raise KeyError(config.x)

    with pytest.raises(KeyError, match="3"):
        home.run(fails, home.there / "work")
    [log] = (home.there / "work").glob("*.log")
    text = log.read_text()
    assert "so far so good" in text and "The job failed" in text and "KeyError: 3" in text


def test_the_working_directory_is_hydras_choice(home: Home) -> None:
    def where(config: DictConfig) -> str:
        return json.dumps([os.getcwd(), os.path.exists(".hydra")])

    before = os.getcwd()
    assert json.loads(home.run(where, home.there / "work")) == [before, False]
    assert os.getcwd() == before
