"""A bare run's config, callbacks and end. Whole runs beside the basic launcher's: tests/apps/test_bare_runs.py."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime
from hydra.errors import CompactHydraException
from hydra.experimental.callback import Callback
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig
from plugin_app import app

from hydra_plugins.hydra_ray_s3_launcher import _alone, _core
from ray_decorator.core.errors import PicklingError

Started = tuple[HydraContext, DictConfig, Callbacks]


class Notes(Callback):
    """What Hydra tells callbacks; ``x`` becomes 9 before the job starts."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        self.seen.append(("start", config.x, config.hydra.mode, kwargs["config_name"]))
        config.x = 9

    def on_run_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        self.seen.append(("end", job_return.status.name, job_return.overrides, job_return.cfg.x))


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_session_address: str) -> Iterator[Started]:
    monkeypatch.chdir(tmp_path)
    with app(tmp_path, "{x: 0, y: a}", f"hydra.run.dir={tmp_path / 'run'}") as (context, config):
        JobRuntime.instance().set("name", "app")
        callbacks = Callbacks()
        callbacks.callbacks.append(Notes())
        yield HydraContext(context.config_loader, callbacks), config, callbacks


def ran(started: Started, task: Any, *arguments: str) -> Any:
    context, config, _ = started
    sweep = _core.prepare((), (), {}, context, task, config)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what a callback raises, Hydra makes a warning of
        return _alone.run(sweep, arguments)


def seen(started: Started) -> list[Any]:
    found: list[Any] = started[2].callbacks[0].seen
    return found


START = ("start", 0, RunMode.RUN, "config")


def test_its_config_is_hydras_own_runs_and_a_callback_may_change_it(started: Started, tmp_path: Path) -> None:
    def task(cfg: DictConfig) -> Any:
        hydra = HydraConfig.get()
        return cfg.x, hydra.mode.name, hydra.runtime.output_dir, list(hydra.overrides.task)

    returned = ran(started, task, "y=b", "y='c d'")
    assert returned.return_value == (9, "RUN", str(tmp_path / "run"), ["y=b", "y='c d'"])
    assert seen(started) == [START, ("end", "COMPLETED", ["y=b", "y='c d'"], 9)]


@pytest.mark.parametrize(("given", "code"), [((), 0), ((0,), 0), ((3,), 3), (("a word",), "a word")])
def test_the_program_ends_where_the_job_did(started: Started, given: Any, code: Any) -> None:
    def task(cfg: DictConfig) -> None:
        raise SystemExit(*given)

    with pytest.raises(SystemExit) as caught:
        ran(started, task)
    assert caught.value.code == code
    assert seen(started) == [START]  # as in Hydra's own run, on_run_end is not called


def test_what_it_raises_is_printed_with_the_users_frames(
    started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    def task(cfg: DictConfig) -> None:
        raise KeyError("gone")

    with pytest.raises(SystemExit) as caught:
        ran(started, task)
    err = capsys.readouterr().err
    assert caught.value.code == 1 and "KeyError: 'gone'" in err and "hydra_plugins" not in err
    assert seen(started)[1][:2] == ("end", "FAILED")


def test_an_error_of_ours_is_one_that_hydra_prints_alone(started: Started) -> None:
    def task(cfg: DictConfig) -> Any:
        return (each for each in ())

    with pytest.raises(PicklingError, match="cannot be pickled") as caught:
        ran(started, task)
    assert isinstance(caught.value, CompactHydraException)
