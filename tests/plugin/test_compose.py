"""From a job's overrides to its config, its directory at home, and its Call."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext
from omegaconf import DictConfig
from plugin_app import app

from hydra_plugins.hydra_ray_s3_launcher._compose import ComposedOnce, Composer
from hydra_plugins.hydra_ray_s3_launcher._task import Payload
from ray_decorator.frontends.stage_paths import StagePaths
from ray_decorator.frontends.terms import Terms

CONFIG = "{x: 0, data: {path: data}, model: {path: 'models/${hydra:job.num}.pkl'}}"


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[HydraContext, DictConfig]]:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    with app(tmp_path, CONFIG) as running:
        yield running


@pytest.fixture
def composer(started: tuple[HydraContext, DictConfig]) -> Composer:
    context, config = started
    return Composer(context.config_loader, config, paths(config, ("data.path",), ("model.path",)))


def paths(config: DictConfig, deps: tuple[str, ...], outs: tuple[str, ...] = ()) -> StagePaths:
    return StagePaths(Terms(deps, outs), Path(config.hydra.runtime.cwd), hidden="hydra")


def test_a_job_has_its_number_its_directory_and_its_paths(composer: Composer, tmp_path: Path) -> None:
    job = composer.compose(["x=3"], 7)
    assert (job.name, job.label, job.job_name) == ("#7 x=3", "x=3", "app")
    assert job.directory == tmp_path / "sweep" / "7"
    assert [(path.key, path.value) for path in (*job.deps, *job.outs)] == [
        ("data.path", tmp_path / "data"),
        ("model.path", tmp_path / "models" / "7.pkl"),
    ]
    assert job.problems == () and not job.directory.exists()
    assert HydraConfig.get().job.num == 7


def test_without_overrides_its_number_is_its_name(composer: Composer) -> None:
    assert composer.compose([], 0).name == "#0"


def test_its_configs_are_as_run_job_returns_them(composer: Composer, tmp_path: Path) -> None:
    config, hydra_config = composer.compose(["x=3"], 7).configs()
    assert config.x == 3 and "hydra" not in config
    assert list(hydra_config) == ["hydra"]
    assert hydra_config.hydra.runtime.output_dir == str(tmp_path / "sweep" / "7")
    assert hydra_config.hydra.job.id == "7"  # as the basic launcher has it


def test_its_call_carries_config_and_slots_and_makes_its_directory(
    composer: Composer, tmp_path: Path
) -> None:
    job = composer.compose(["x=3"], 7)
    call = job.call(b"func")
    assert (call.func, call.name) == (b"func", "#7 x=3")
    assert call.workspace is not None and call.workspace.value == tmp_path / "sweep" / "7"
    assert job.directory.is_dir()
    payload = pickle.loads(call.payload)
    assert payload == Payload(job.pickled, (("data", "path"), ("model", "path")), job.place)


def test_all_that_is_wrong_with_a_job_is_kept_until_it_is_asked_for(
    started: tuple[HydraContext, DictConfig], tmp_path: Path
) -> None:
    context, config = started
    deps = ("data.pth", "x", "hydra.job.name")
    job = Composer(context.config_loader, config, paths(config, deps)).compose(["x=gone"], 0)
    pth, hidden, gone = job.problems
    assert pth.startswith("deps key 'data.pth' does not exist. Nearest: 'data.path'")
    assert hidden.startswith("deps key 'hydra.job.name' does not exist.")
    assert f"deps key 'x' is {tmp_path}/gone, which does not exist" in gone


def test_a_job_is_composed_once_for_its_two_callers(started: tuple[HydraContext, DictConfig]) -> None:
    context, config = started
    composed: list[list[str]] = []

    class Counting:
        def load_sweep_config(self, master: DictConfig, overrides: list[str]) -> DictConfig:
            composed.append(overrides)
            return context.config_loader.load_sweep_config(master, overrides)

        def get_sources(self) -> str:
            return "as ever"

    once = ComposedOnce(Counting())  # type: ignore[arg-type]
    first = once.load_sweep_config(config, ["x=1"])
    second = once.load_sweep_config(config, ["x=1"])
    assert first == second and first is not second
    assert composed == [["x=1"]]
    once.load_sweep_config(config, ["x=1"])  # a third one may mean something new
    assert composed == [["x=1"], ["x=1"]]
    assert once.get_sources() == "as ever"
