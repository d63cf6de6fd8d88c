"""What counts as a bare run, and what becomes of its sweeper. Whole runs: tests/apps/test_bare_runs.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra._internal import utils
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import OmegaConf
from plugin_app import app

from hydra_plugins.hydra_ray_s3_launcher.bare_run import BareRun, OneJob, calls_once, is_bare

CONFIG = "x: 1\nhydra:\n  sweeper:\n    params:\n      x: 1,2\n"


class Hydra:
    """Stands in for Hydra's own, as `_run_app` calls it."""

    def __init__(self, seen: Any) -> None:
        self.run = self.multirun = lambda **_: seen()


def called(seen: Any, *, multirun: bool) -> bool:
    """What ``seen`` returns below Hydra's function that starts an app."""
    found: list[bool] = []
    hydra = Hydra(lambda: found.append(seen()))
    utils._run_app(not multirun, multirun, RunMode.MULTIRUN, hydra, None, lambda _: None, [])
    return found[0]


@pytest.mark.parametrize(
    ("overrides", "multirun", "bare"),
    [
        ([], False, True),
        (["x=5"], False, True),
        ([], True, False),
        (["x=5,6"], False, False),
        (["hydra.mode=MULTIRUN"], False, False),
    ],
)
def test_a_bare_run_asks_for_no_sweep_in_any_way(
    tmp_path: Path, overrides: list[str], multirun: bool, bare: bool
) -> None:
    with app(tmp_path, CONFIG, *overrides) as (_, config):
        assert called(lambda: is_bare(config), multirun=multirun) is bare
        assert not is_bare(config)  # nobody has started an app


def test_its_sweeper_runs_one_job_of_the_very_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    launcher = SimpleNamespace(run=asked.append)
    monkeypatch.setattr(Plugins, "instantiate_launcher", lambda self, **given: launcher)
    with app(tmp_path, CONFIG, "hydra/sweeper=optuna") as (context, config):
        before = OmegaConf.to_container(config, resolve=False)
        BareRun().on_multirun_start(config)
        assert OmegaConf.to_container(config, resolve=False) == before
        assert not calls_once(config)

        def made() -> bool:
            BareRun().on_multirun_start(config)
            sweeper = Plugins.instance().instantiate_sweeper(
                hydra_context=context, task_function=print, config=config
            )
            sweeper.sweep(["x='a, b'", "x=2"])
            return calls_once(config) and type(sweeper).__qualname__ == OneJob.__qualname__

        assert called(made, multirun=False)
    assert asked == [["x='a, b'", "x=2"]]


def test_the_basic_sweeper_calls_the_launcher_once_unless_it_makes_batches(tmp_path: Path) -> None:
    with app(tmp_path, CONFIG) as (_, config):
        assert calls_once(config)
    with app(tmp_path, CONFIG, "hydra.sweeper.max_batch_size=2") as (_, config):
        assert not calls_once(config)
