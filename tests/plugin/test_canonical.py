"""Which differences between two configs make another job, and which do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

import pytest
from hydra.types import RunMode
from omegaconf import II, MISSING, DictConfig, OmegaConf
from plugin_app import app

from hydra_plugins.hydra_ray_s3_launcher import _canonical as canonical
from hydra_plugins.hydra_ray_s3_launcher._canonical import _plain, config_digest
from hydra_plugins.hydra_ray_s3_launcher._compose import ComposedOnce, Composer
from ray_decorator.frontends.stage_paths import StagePaths
from ray_decorator.frontends.terms import Terms

CONFIG = """\
x: 1
name: ${oc.env:NAME,none}
doubled: ${doubled:${x}}
seed: ${hydra:job.num}
day: ${now:%H-%M-%S-%f}
where: ${hydra:runtime.output_dir}/log
half: ${half:${hydra:job.num}}
data: {path: data, files: [a, b]}
again: ${data.path}
model: models/${hydra:job.num}.pkl
hydra: {job: {env_set: {RANK: "${hydra:job.num}", MODE: "${oc.env:MODE,fast}"}}}
"""
DEPS, OUTS = ("data.path", "data.files.0"), ("model",)


@pytest.fixture(autouse=True)
def resolvers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data", "other", "a", "c"):
        (tmp_path / name).mkdir()
    OmegaConf.register_new_resolver("doubled", lambda value: 2 * value, replace=True)
    OmegaConf.register_new_resolver("half", lambda number: 10 / number, replace=True)


@contextmanager
def digests(
    tmp_path: Path, *started: str, text: str = CONFIG, deps: Any = DEPS
) -> Iterator[Callable[..., str]]:
    """What gives the digest of a job of an app, by its overrides and its number; the app was started with others."""
    with app(tmp_path, text, *started) as (context, config):
        loader = ComposedOnce(context.config_loader)
        composer = Composer(loader, config, StagePaths(Terms(deps, OUTS), tmp_path))

        def of(*overrides: str, num: int = 3) -> str:
            job = composer.compose(list(overrides), num)
            assert job.problems == ()
            return job.digest

        yield of


def digest(tmp_path: Path, *started: str, text: str = CONFIG, deps: Any = DEPS) -> str:
    """The digest of the plain job of an app."""
    with digests(tmp_path, *started, text=text, deps=deps) as of:
        return of()


SAME = ("x=1", "data.files.0=c", "model=elsewhere.pkl", "data.path=other")
OTHERS = ("x=2", "x=1.0", "x='1'", "x=null", "+y=1", "data.files.1=c")
STARTED_SAME = (
    "hydra.sweep.dir=elsewhere",
    "hydra.verbose=true",
    "hydra.launcher.max_concurrent=1",
    "hydra.job.name=else",
)
STARTED_OTHER = "hydra.job.env_set.MODE=slow"


def test_a_changed_value_makes_another_job_but_for_what_is_no_matter(tmp_path: Path) -> None:
    with digests(tmp_path) as of:
        plain = of()
        assert {of(override) for override in SAME} == {plain}
        others = {override: of(override) for override in OTHERS}
    assert digest(tmp_path, *STARTED_SAME) == plain
    others[STARTED_OTHER] = digest(tmp_path, STARTED_OTHER)
    assert len({plain, *others.values()}) == 1 + len(OTHERS) + 1, others


def test_its_number_does_not_count_nor_the_order_of_keys_nor_a_comment(tmp_path: Path) -> None:
    with digests(tmp_path) as of:
        first = of()
        assert of(num=7) == first
    lines = CONFIG.splitlines()
    assert digest(tmp_path, text="\n".join(["# said otherwise", *reversed(lines)])) == first


@pytest.mark.parametrize("name", ["NAME", "MODE"])
def test_what_the_environment_gives_counts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = digest(tmp_path)
    monkeypatch.setenv(name, "given")
    assert digest(tmp_path) != first


def test_what_a_resolver_of_the_app_gives_counts(tmp_path: Path) -> None:
    first = digest(tmp_path)
    OmegaConf.register_new_resolver("doubled", lambda value: 3 * value, replace=True)
    assert digest(tmp_path) != first


def test_resolvers_of_any_name_count_and_symbols_do_not(tmp_path: Path) -> None:
    given = {"x": 1}
    for name in ("my-res", "plain"):
        OmegaConf.register_new_resolver(name, lambda value: (value, given["x"]), replace=True)
    written = ["${my-res:1}", "${${n}:1}", "a ${plain:${key}} b", "${plain:${now:%S}}", "${plain:'}'}"]
    others = ["${key}", "${a.${key}}", "${hydra:job.num}", "${now:%H:%M}", "$ {plain:1}"]

    def of(value: str) -> str:
        config = {"n": "plain", "key": "b", "a": {"b": 1}, "value": value, "hydra": {"job": {"env_set": {}}}}
        return config_digest(OmegaConf.create(config), (), OmegaConf.create({}))

    first = {value: of(value) for value in (*written, *others)}
    given["x"] = 2
    assert [value for value in first if of(value) != first[value]] == written


def test_a_resolver_that_fails_here_counts_as_it_is_written(tmp_path: Path) -> None:
    """`half` of a job's number cannot be had of a symbol."""
    with digests(tmp_path) as of:
        assert of(num=1) == of(num=2)
    assert digest(tmp_path, text=CONFIG.replace("${half:", "${ half:")) != digest(tmp_path)


def test_deps_by_another_key_make_another_job(tmp_path: Path) -> None:
    """The keys count where their contents do (`job_ids.job_id`); here, a path that is no dep any more."""
    assert digest(tmp_path, deps=("data.path",)) != digest(tmp_path)


@dataclass
class Typed:
    """A structured config with kinds of nodes of its own."""

    either: Union[int, str] = 3  # noqa: UP007  # OmegaConf 2.3 knows no `int | str`
    missing: str = MISSING
    none: Optional[list[int]] = None  # noqa: UP045
    path: Path = Path("a")
    kind: RunMode = RunMode.RUN
    raw: bytes = b"a"
    by_kind: dict[RunMode, Any] = field(default_factory=lambda: {RunMode.RUN: [1, {"a": "${x}"}]})
    linked: dict[str, int] = II("other")  # noqa: RUF009  # it is a text


def test_it_reads_a_config_as_omegaconf_does() -> None:
    written = {
        "x": 1,
        "list": [[], {}, None, "???", "${x}"],
        "gone": "???",
        "list_link": "${list}",
        "f": 1.5,
        1: True,
    }
    config = OmegaConf.merge(written, {"typed": OmegaConf.structured(Typed), "dict_none": DictConfig(None)})
    config.list_of_typed = [Typed()]
    assert _plain(config) == OmegaConf.to_container(config, resolve=False)


def test_types_that_json_has_not_are_told_apart() -> None:
    def of(value: Any) -> str:
        config = OmegaConf.create({"hydra": {"job": {"env_set": {}}}}, flags={"allow_objects": True})
        config.value = value
        return config_digest(config, (), config.hydra.job.env_set)

    values: list[Any] = [
        1,
        True,
        1.0,
        "1",
        None,
        b"1",
        Path("1"),
        [1],
        {"1": 1},
        {1: 1},
        float("nan"),
        ["???"],
        {1, 2},
    ]
    assert len({of(value) for value in values}) == len(values)
    assert of(float("nan")) == of(float("nan"))


def test_an_omegaconf_that_keeps_its_resolvers_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then what a symbol leads to counts, and no job fails of it."""
    monkeypatch.setattr(canonical, "BaseContainer", object)
    assert digest(tmp_path) != ""
