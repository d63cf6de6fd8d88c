"""A batch of jobs reads each config file once; what is composed is the same, and edits count for the next batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_repository import ConfigRepository
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from plugin_app import config_loader

from hydra_plugins.hydra_ray_s3_launcher._config_files import forget, read_once


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "config.yaml").write_text(
        "defaults: [model: a, _self_]\nx: 0\npath: ${model.name}/out\n"
    )
    for name in "ab":
        (tmp_path / "conf" / "model" / f"{name}.yaml").write_text(f"name: {name}\nlayers: [1, 2]\n")
    return tmp_path / "conf"


@pytest.fixture
def loader(conf: Path) -> Iterator[Any]:
    with config_loader(conf) as found:
        yield found


@pytest.fixture
def master(loader: Any) -> Any:
    return loader.load_configuration(
        "config", ["x=1,2"], run_mode=RunMode.MULTIRUN, from_shell=False, validate_sweep_overrides=False
    )


@pytest.fixture
def composed(loader: Any, master: Any) -> Callable[..., DictConfig]:
    def compose(*overrides: str) -> DictConfig:
        config: DictConfig = loader.load_sweep_config(master, list(overrides))
        return config

    return compose


OVERRIDES = [("x=1",), ("x=2", "model=b"), ("model=b", "model.layers=[3]"), ("+hydra.job.name=mine", "x=1")]


def test_what_is_composed_is_the_same(loader: Any, composed: Callable[..., DictConfig]) -> None:
    before = [OmegaConf.to_yaml(composed(*each)) for each in OVERRIDES]
    read_once(loader)
    for _ in range(2):
        assert [OmegaConf.to_yaml(composed(*each)) for each in OVERRIDES] == before


def test_a_file_is_read_once_until_it_is_forgotten(
    loader: Any, composed: Callable[..., DictConfig], conf: Path
) -> None:
    read_once(loader)
    first = composed("x=1")
    first.model.layers.append(9)  # a job's config is its own
    (conf / "model" / "a.yaml").write_text("name: edited\nlayers: []\n")
    assert composed("x=2").model == {"name": "a", "layers": [1, 2]}
    forget(loader)
    assert composed("x=2").path == "edited/out"


def test_a_search_path_of_the_jobs_own_is_heeded(
    loader: Any, composed: Callable[..., DictConfig], conf: Path, tmp_path: Path
) -> None:
    (tmp_path / "more" / "model").mkdir(parents=True)
    (tmp_path / "more" / "model" / "c.yaml").write_text("name: c\n")
    read_once(loader)
    composed("x=1")
    assert composed(f"hydra.searchpath=[file://{tmp_path / 'more'}]", "model=c").model.name == "c"


def test_it_travels_as_what_it_was(loader: Any, composed: Callable[..., DictConfig]) -> None:
    read_once(loader)
    composed("x=1")
    rebuild, arguments = loader.repository.__reduce__()  # its sources' classes may have been made anew by now
    travelled = rebuild(*arguments)
    assert type(travelled) is ConfigRepository
    assert [source.path for source in travelled.sources] == [
        source.path for source in loader.repository.sources
    ]


def test_a_loader_of_another_kind_is_left_alone() -> None:
    class Loader:
        repository = "another"

    other: Any = Loader()
    read_once(other)
    forget(other)
    assert other.repository == "another"
    nothing: Any = object()
    read_once(nothing)
