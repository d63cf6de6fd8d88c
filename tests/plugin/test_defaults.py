"""Jobs that choose the same groups share their defaults list and what it makes; what is composed is the same."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra._internal import config_loader_impl, defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, OmegaConf
from plugin_app import config_loader

from hydra_plugins.hydra_ray_s3_launcher import _config_files
from hydra_plugins.hydra_ray_s3_launcher._config_files import read_once
from hydra_plugins.hydra_ray_s3_launcher._defaults import shared

FILES = {
    "config.yaml": "defaults: [model: a, data@train: d, '${model}_too', _self_, override hydra/job_logging: none]\n"
    "x: 0\nnested: {y: 1, z: [1, 2]}\npath: ${model.name}/out\n",
    "a_too.yaml": "too: a\n",
    "b_too.yaml": "too: b\n",
    "asking.yaml": "defaults: [model: '${next_model:}', _self_]\nx: 0\n",
    "environ.yaml": "defaults: [model: '${oc.env:MODEL}', _self_]\nx: 0\n",
    "model/a.yaml": "name: a\nlayers: [1, 2]\n",
    "model/b.yaml": "defaults: [base]\nname: b\n",
    "model/base.yaml": "layers: []\n",
    "data/d.yaml": "rows: 1\n",
    "data/e.yaml": "# @package _global_\nrows: 2\nx: 7\n",
    "extra/one.yaml": "size: 1\n",
}
JOBS = [
    ("x=1",),
    ("x=2",),
    ("nested.y=3", "x=4"),
    ("x=4", "nested={y: 3}", "nested.y=9"),
    ("model=b",),
    ("model=b", "model.layers=[3]"),
    ("data@train=e",),
    ("+data@test=d", "test.rows=5"),
    ("+extra=one",),
    ("+extra@more=one", "+more.other=1", "++more.size=2"),
    ("~data@train",),
    ("~nested.z", "+nested.w={a: 1}"),
    ("~x",),
    ("hydra/job_logging=default", "hydra.job.name=mine"),
    ("x='a b,c'", "+s=${nested.y}"),
    ("+hydra.job.env_set.A=b",),
    ("x=1",),
]
WRONG = ["nope=1", "model=c", "+model=b", "~extra", "x.y=1", "nested.z.w=3", "~data@train=e", "++model=b"]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def loader(conf: Path) -> Iterator[Any]:
    with config_loader(conf) as found:
        yield found


def once(loader: Any) -> Any:
    read_once(loader)
    return shared(loader)


def composed(loader: Any, *overrides: str, name: str = "config") -> DictConfig:
    master = OmegaConf.create({"hydra": {"overrides": {"hydra": []}, "job": {"config_name": name}}})
    config: DictConfig = loader.load_sweep_config(master, list(overrides))
    return config


def text(config: DictConfig) -> tuple[str, list[Any]]:
    flags = [config._get_flag("struct"), config.hydra._get_flag("readonly"), OmegaConf.get_type(config.hydra)]
    return OmegaConf.to_yaml(config), flags


def failure(loader: Any, override: str) -> tuple[type[BaseException], str]:
    with pytest.raises(Exception) as caught:
        composed(loader, override)
    return type(caught.value), str(caught.value)


def test_what_is_composed_and_what_is_refused_is_the_same(loader: Any) -> None:
    before = [text(composed(loader, *each)) for each in JOBS]
    refused = [failure(loader, each) for each in WRONG]
    sharing = once(loader)
    for _ in range(2):
        assert [text(composed(sharing, *each)) for each in JOBS] == before
        assert [failure(sharing, each) for each in WRONG] == refused


SHARING = """
import sys
from pathlib import Path

from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from hydra_plugins.hydra_ray_s3_launcher._config_files import forget, read_once
from hydra_plugins.hydra_ray_s3_launcher._defaults import shared

merged, load = [], ConfigLoaderImpl._load_single_config

def counted(self, default, repo):
    merged.append(default.config_path)
    return load(self, default, repo)

def composed(*overrides):
    return sharing.load_sweep_config(master, list(overrides))

ConfigLoaderImpl._load_single_config = counted
conf = Path(sys.argv[1])
master = OmegaConf.create({"hydra": {"overrides": {"hydra": []}, "job": {"config_name": "config"}}})
with initialize_config_dir(str(conf), version_base="1.3"):
    loader = GlobalHydra.instance().hydra.config_loader
    read_once(loader)
    sharing = shared(loader)
    composed("x=1").nested.z.append(9)  # a job's config is its own
    assert composed("x=2").nested.z == [1, 2]
    composed("x=3", "model=b")
    composed("x=4", "model=b")
    assert [merged.count(f"model/{name}") for name in "ab"] == [1, 1], merged
    (conf / "model" / "a.yaml").write_text("name: edited\\nlayers: []\\n")
    forget(sharing)
    assert composed("x=2").path == "edited/out"
print("shared")
"""


def test_jobs_that_differ_in_values_share_the_rest_until_it_is_forgotten(conf: Path) -> None:
    # in a process of its own: others' tests store configs of classes that cannot be pickled
    command = [sys.executable, "-c", SHARING, str(conf)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ran.stdout == "shared\n", ran.stderr


def test_a_resolver_in_a_defaults_list_is_asked_for_each_job(loader: Any) -> None:
    answers = iter("aba")
    OmegaConf.register_new_resolver("next_model", lambda: next(answers))
    try:
        sharing = once(loader)
        names = [composed(sharing, f"x={number}", name="asking").model.name for number in range(3)]
    finally:
        OmegaConf.clear_resolver("next_model")
    assert names == ["a", "b", "a"]


def test_the_environment_that_a_choice_names_is_heeded(loader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sharing = once(loader)
    for name in "aab":
        monkeypatch.setenv("MODEL", name)
        assert composed(sharing, "x=1", name="environ").model.name == name


def test_a_search_path_of_the_jobs_own_is_heeded(loader: Any, tmp_path: Path) -> None:
    (tmp_path / "more" / "model").mkdir(parents=True)
    (tmp_path / "more" / "c_too.yaml").touch()
    (tmp_path / "more" / "model" / "c.yaml").write_text("name: c\n")
    sharing = once(loader)
    composed(sharing, "x=1")
    assert composed(sharing, f"hydra.searchpath=[file://{tmp_path / 'more'}]", "model=c").model.name == "c"
    assert composed(sharing, "x=1").model.name == "a"


def test_many_choices_are_not_all_kept(loader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config_files, "_MADE", 4)
    sharing = once(loader)
    for number in range(4):
        assert f"more{number}" in composed(sharing, f"+extra@more{number}=one")
    assert len(sharing.repository.made()) <= 4


def test_what_cannot_be_pickled_is_made_again(loader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> bytes:
        raise pickle.PicklingError

    sharing = once(loader)
    monkeypatch.setattr(pickle, "dumps", refuse)
    assert [composed(sharing, f"x={number}").x for number in range(2)] == [0, 1]


def test_it_travels_as_what_it_was(loader: Any) -> None:
    sharing = once(loader)
    composed(sharing, "x=1")
    rebuild, arguments = sharing.__reduce__()
    assert type(rebuild(*arguments)) is ConfigLoaderImpl


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (config_loader_impl, "ConfigLoaderImpl"),
        (config_loader_impl, "create_defaults_list"),
        (defaults_list, "Overrides"),
        (defaults_list, "DefaultsList"),
        (ConfigLoaderImpl, "_load_configuration_impl"),
        (ConfigLoaderImpl, "_compose_config_from_defaults_list"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_where_hydra_has_not_that_name_hydra_composes_alone(
    loader: Any, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    monkeypatch.delattr(module, name)
    assert shared(loader) is loader


def test_a_loader_of_another_kind_is_left_alone() -> None:
    other: Any = object()
    assert shared(other) is other
