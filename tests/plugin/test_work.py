"""What the ledger knows a Hydra job by, besides its config."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra_zen import zen
from omegaconf import DictConfig
from plugin_app import app

from hydra_plugins.hydra_ray_s3_launcher._work import with_job, work_of
from ray_decorator import ray_decorator, ray_zen
from ray_decorator.core.records.reader import load_job
from ray_decorator.core.records.records import JobRecord, dump
from ray_decorator.core.values.inherited import Variable
from ray_decorator.core.values.returned import Value


def task(cfg: DictConfig) -> None: ...


class Trainer:
    def run(self, cfg: DictConfig) -> None: ...

    def __call__(self, cfg: DictConfig) -> None: ...


@functools.wraps(task)
def wrapped(*args: Any) -> None: ...


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def config(home: Path) -> Iterator[DictConfig]:
    with app(home, "x: 1") as (_, config):
        yield config


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (task, "task"),
        (wrapped, "task"),
        (functools.partial(task), "task"),
        (ray_decorator()(task), "task"),
        (zen(task), "task"),
        (ray_zen(task), "task"),
        (Trainer().run, "Trainer.run"),
        (Trainer(), "Trainer"),
    ],
    ids=range(8),
)
def test_the_users_own_function_is_the_task(function: Any, name: str, config: DictConfig) -> None:
    work = work_of(function, config)
    assert (work.name, work.source) == (name, str(Path(__file__).resolve()))


def test_what_a_partial_has_bound_makes_another_task(config: DictConfig) -> None:
    bound = [functools.partial(task, 1), functools.partial(task, 2), functools.partial(task, x=1), task]
    names = [work_of(one, config).name for one in bound]
    assert len(set(names)) == 4 and work_of(functools.partial(task, 1), config).name == names[0]
    assert work_of(functools.partial(task, threading.Lock()), config).source == ""


def test_a_function_without_a_file_has_no_source(config: DictConfig) -> None:
    namespace: dict[str, Any] = {}
    exec("def task(cfg): ...", namespace)
    assert work_of(namespace["task"], config).source == ""
    assert work_of(len, config).source == ""  # `print` may be Ray's


def test_the_yaml_of_hydras_search_path_is_no_code(home: Path, config: DictConfig) -> None:
    folders = work_of(task, config).configs
    assert str(home / "conf") in folders
    assert any(folder.endswith("/hydra/conf") for folder in folders)


def test_the_variables_of_a_job_count(config: DictConfig) -> None:
    work = work_of(task, config)
    made = [
        with_job(work, "digest", variables, "app", ("x=1",)).config
        for variables in ({}, {"A": Variable("1")}, {"A": Variable("2")}, {"A": Variable(None)})
    ]
    assert len(set(made)) == 4


def test_an_override_of_any_length_leaves_a_receipt_that_can_be_read(config: DictConfig) -> None:
    work = with_job(work_of(task, config), "digest", {}, "app", ("x=" + "1" * 100_000, "y=a\0b"))
    record = JobRecord("a" * 64, "run", work.app, work.overrides, "COMPLETED", Value())
    data = dump(record)
    assert data is not None and load_job(data, record.id).overrides == work.overrides
    assert work.overrides[1] == "y=a\\0b"
