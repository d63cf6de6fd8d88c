"""What counts as a bare run, and what becomes of its sweeper. Whole runs: tests/apps/test_bare_runs.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra._internal import utils
from hydra.types import RunMode
from omegaconf import OmegaConf
from plugin_app import app

from hydra_plugins.hydra_ray_s3_launcher.bare_run import BareRun, becomes_one_job, is_bare

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


def test_its_sweeper_is_hydras_basic_one_without_params(tmp_path: Path) -> None:
    with app(tmp_path, CONFIG, "hydra.run.dir=here") as (_, config):
        before = OmegaConf.to_container(config, resolve=False)
        BareRun().on_multirun_start(config)
        assert OmegaConf.to_container(config, resolve=False) == before

        def exchanged() -> bool:
            assert not becomes_one_job(config)
            BareRun().on_multirun_start(config)
            return becomes_one_job(config)

        assert called(exchanged, multirun=False)
        assert config.hydra.sweeper.params is None and config.hydra.sweep.dir == "here"
