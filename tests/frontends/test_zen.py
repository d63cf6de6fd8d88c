"""ray_zen in zen's place: the same answers, built on the worker. Real Ray, real store."""

from __future__ import annotations

import asyncio
import copy
import os
import random
import subprocess
import sys
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hydra_zen import builds, just, make_config, to_yaml, zen
from hydra_zen.errors import HydraZenValidationError
from hydra_zen.wrapper import Zen
from omegaconf import DictConfig, OmegaConf

from ray_decorator import InputError
from ray_decorator.core.errors import RemoteTraceback
from ray_decorator.frontends.zen import RayZen, ray_zen

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that the caller stands in, with its data and a store of its own."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("alpha")
    monkeypatch.setenv("RAY_S3_BASE_PATH", (tmp_path / "store").as_uri())
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Deps and outs


@ray_zen(deps=["data.dir"], outs=["out"])
def copy_text(data: Any, out: Path, times: int = 1) -> tuple[str, type]:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text((Path(data["dir"]) / "a.txt").read_text() * times)
    return data["dir"], type(out)


def test_paths_of_the_config_are_carried(home: Path) -> None:
    config = make_config(data={"dir": "data"}, out=Path("models/m.txt"), times=2)
    where, kind = copy_text(config)
    assert (home / "models/m.txt").read_text() == "alphaalpha"
    assert not where.startswith(str(home))
    assert issubclass(kind, Path)
    assert copy_text.local(config)[0] == "data"


def test_the_caller_s_config_is_never_changed(home: Path) -> None:
    config = OmegaConf.create(
        {"data": {"dir": "${root}/data"}, "root": str(home), "out": Path("m"), "later": "${root}"}
    )
    before = copy.deepcopy(config)
    copy_text(config)
    assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(before)  # not even resolved


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"deps": ["data.dri"]},
            r"deps key 'data\.dri' does not exist\. Nearest: 'data\.dir',.*\(job task\)",
        ),
        ({"deps": ["gone"]}, r"deps key 'gone' is \S+/gone, which does not exist\. .*dvc pull gone"),
        ({"outs": ["number"]}, r"outs key 'number' is 7 \(int\); expected a path"),
        ({"deps": ["hole"]}, r"key 'hole' has no value"),
    ],
)
def test_bad_keys_are_the_launcher_s_errors(keys: dict[str, Any], message: str) -> None:
    def task(number: int) -> None:
        raise AssertionError("must not run")

    with pytest.raises(InputError, match=message):
        ray_zen(task, **keys)({"data": {"dir": "data"}, "gone": "gone", "number": 7, "hole": "???"})


def test_an_exception_comes_back_with_the_worker_s_traceback() -> None:
    def task(x: int) -> None:
        raise KeyError(x)

    with pytest.raises(KeyError, match="3") as caught:
        ray_zen(task)({"x": 3})
    assert isinstance(caught.value.__cause__, RemoteTraceback)


# Nothing is built on the driver


class Built:
    """Records the process that it is built in, and that it was built."""

    built_here = 0

    def __init__(self, inner: Any = None) -> None:
        type(self).built_here += 1
        self.inner, self.pid = inner, os.getpid()

    @classmethod
    def make(cls, width: int) -> Built:
        return cls(width)


def pids(value: Any) -> set[int]:
    """Of all that was built for a task's argument."""
    if isinstance(value, Built):
        return {value.pid} | pids(value.inner)
    if isinstance(value, dict):
        return set().union(*map(pids, value.values()))
    if isinstance(value, list):
        return set().union(*map(pids, value))
    return set()


@pytest.mark.parametrize(
    "config",
    [
        builds(Built),
        builds(Built, inner=builds(Built)),
        builds(Built.make, width=3),
        {"a": {"b": builds(Built)}, "c": 1},
        [builds(Built), builds(Built)],
        make_config(deep=make_config(model=builds(Built, inner=[builds(Built)]))),
    ],
    ids=["builds", "nested builds", "class method", "dict", "list", "config"],
)
def test_objects_are_built_on_the_worker(config: Any) -> None:
    def task(model: Any) -> tuple[set[int], int]:
        value = model.deep.model if hasattr(model, "deep") else model
        return pids(value), os.getpid()

    before = Built.built_here
    found, worker = ray_zen(task)(make_config(model=config))
    assert found == {worker}
    assert worker != os.getpid()
    assert Built.built_here == before


def test_partials_and_just_are_built_on_the_worker() -> None:
    def task(make: Any, kind: Any, also: Any) -> tuple[set[int], bool]:
        return pids(make()) | pids(kind()) | pids(also()), isinstance(make, partial)

    before = Built.built_here
    found, is_partial = ray_zen(task)(
        make_config(make=builds(Built, zen_partial=True, inner=builds(Built)), kind=just(Built), also=Built)
    )
    assert is_partial
    assert len(found) == 1
    assert os.getpid() not in found
    assert Built.built_here == before


class Seeded:
    pids: ClassVar[list[int]] = []


def record_pid(cfg: Any) -> None:
    Seeded.pids.append(os.getpid())
    cfg.pre = os.getpid()


def test_pre_call_runs_on_the_worker_before_anything_is_built() -> None:
    before = Built.built_here

    def task(pre: int, model: Built, zen_cfg: DictConfig) -> tuple[int, int, int]:
        return pre, model.pid, os.getpid()

    pre_call = [record_pid, zen(lambda model: None)]
    pre, built, worker = ray_zen(task, pre_call=pre_call)({"pre": 0, "model": builds(Built)})
    assert pre == built == worker != os.getpid()
    assert Seeded.pids == []
    assert Built.built_here == before


def test_interpolations_are_resolved_on_the_worker() -> None:
    OmegaConf.register_new_resolver("test_pid", os.getpid, replace=True)
    try:
        found, worker = ray_zen(lambda pid: (pid, os.getpid()))({"pid": "${test_pid:}"})
        assert found == worker != os.getpid()
    finally:
        OmegaConf.clear_resolver("test_pid")


def test_a_ray_zen_as_pre_call_prepares_the_task_s_own_worker() -> None:
    def task(x: float) -> float:
        return x

    for pre_call in (ray_zen(seed_random), [ray_zen(seed_random)]):
        random.seed(5)
        expected = random.random()
        assert ray_zen(task, pre_call=pre_call)({"x": builds(random.random), "seed": 5}) == expected


def seed_random(seed: int) -> None:
    random.seed(seed)


def test_an_async_function_is_awaited() -> None:
    async def task(x: int) -> tuple[int, int]:
        await asyncio.sleep(0)
        return x, os.getpid()

    async def main() -> tuple[int, int]:
        return await ray_zen(task)({"x": builds(int, 22)})

    value, pid = asyncio.run(main())
    assert value == 22
    assert pid != os.getpid()


def test_an_object_with_an_async_call_is_awaited_as_zen_s_is() -> None:
    async def main(call: Any) -> tuple[int, int]:
        awaited: tuple[int, int] = await call({"x": builds(int, 22)})
        return awaited

    here, there = (asyncio.run(main(wrap(_Awaited()))) for wrap in (zen, ray_zen))
    assert here[0] == there[0] == 22
    assert here[1] == os.getpid() != there[1]


class _Awaited:
    async def __call__(self, x: int) -> tuple[int, int]:
        await asyncio.sleep(0)
        return x, os.getpid()


# As zen: each of these is asked of both


def double(x: int, y: int = 2, **kw: Any) -> Any:
    return x * y, kw


def positional(a: int, b: int, /, c: int) -> tuple[int, int, int]:
    return a, b, c


def note(cfg: Any) -> None:
    cfg.x += 1


def nothing_resolved(cfg: Any) -> None:
    assert OmegaConf.is_interpolation(cfg, "y")


def shout(target: Any) -> Any:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value = target(*args, **kwargs)
        return f"{value}!"

    return wrapped


def with_config(x: int, zen_cfg: DictConfig) -> tuple[int, Any]:
    return x, OmegaConf.to_container(zen_cfg)


def numbers(x: int, y: int) -> tuple[int, int]:
    return x, y


BOTH = [
    (double, {}, {"x": 3}),
    (double, {}, make_config(x=3, y=4, unused="unused")),
    (double, {}, make_config(x=3, y=4)()),
    (double, {}, to_yaml({"x": 3, "y": 4})),
    (double, {}, DictConfig({"x": 3, "y": "${x}"})),
    (double, {}, {"x": builds(int, 3), "z": builds(int, "no number")}),
    (double, {"unpack_kwargs": True}, {"x": 1, "z": "${x}", "w": builds(dict, a=1)}),
    (double, {"unpack_kwargs": True, "exclude": "z"}, {"x": 1, "z": builds(int, "no number")}),
    (double, {"exclude": "y"}, {"x": 1, "y": 5}),
    (double, {"exclude": ["y"]}, {"x": 1, "y": 5}),
    (double, {"pre_call": note}, {"x": 1}),
    (double, {"pre_call": [note, note]}, {"x": 1}),
    (double, {"pre_call": nothing_resolved, "resolve_pre_call": False}, {"x": 1, "y": "${x}"}),
    (
        numbers,
        {"pre_call": zen(lambda seed: random.seed(seed))},
        {"x": builds(random.random), "y": 1, "seed": 3},
    ),
    (double, {"instantiation_wrapper": shout}, {"x": builds(str, "a"), "y": 2}),
    (with_config, {}, {"x": 1, "y": "${x}"}),
    (positional, {}, {"_args_": [1, builds(int, 2)], "c": 3}),
    (partial(double, y=5), {}, {"x": 2}),
    ("".join, {}, {"_args_": [["a", "b"]]}),
]


@pytest.mark.parametrize(("function", "options", "config"), BOTH)
def test_the_same_value_as_zen(function: Any, options: dict[str, Any], config: Any) -> None:
    assert ray_zen(function, **options)(copy.deepcopy(config)) == zen(function, **options)(
        copy.deepcopy(config)
    )


FAILING = [
    (double, {}, {"y": 1}),
    (double, {}, ["a", "b"]),
    (double, {}, to_yaml(["a", "b"])),
    (double, {}, 3),
    (double, {}, {"x": "${nowhere}"}),
    (double, {"unpack_kwargs": "apple"}, {}),
    (double, {"pre_call": lambda: None}, {}),
    (double, {"pre_call": lambda x, y: None}, {}),
    (range(1), {}, {}),
]


@pytest.mark.parametrize(("function", "options", "config"), FAILING)
def test_the_same_error_as_zen(function: Any, options: dict[str, Any], config: Any) -> None:
    with pytest.raises(Exception) as from_zen:
        zen(function, **options)(config)
    with pytest.raises(type(from_zen.value)) as from_ray_zen:
        ray_zen(function, **options)(config)
    assert str(from_ray_zen.value) == str(from_zen.value)


def test_validate_is_zen_s() -> None:
    checked = ray_zen(double, pre_call=zen(lambda seed: None))
    checked.validate({"x": 1, "seed": 2})
    with pytest.raises(HydraZenValidationError, match="missing the following fields: seed"):
        checked.validate({"x": 1})
    with pytest.raises(HydraZenValidationError, match="missing the following fields: x"):
        checked.validate({"seed": 1})


variable: ContextVar[int] = ContextVar("variable", default=0)


def read_variable(x: int) -> int:
    return variable.get()


def set_variable(cfg: Any) -> None:
    variable.set(cfg.x)


@pytest.mark.parametrize("isolated", [True, False])
def test_run_in_context(isolated: bool) -> None:
    assert ray_zen(read_variable, pre_call=set_variable, run_in_context=isolated)({"x": 7}) == 7
    assert variable.get() == 0
    with pytest.raises(TypeError, match="not supported for async functions"):
        ray_zen(_async, run_in_context=True)


async def _async() -> None: ...


def test_it_is_a_zen_in_each_of_its_forms() -> None:
    direct = ray_zen(double, deps=[])
    configured = ray_zen(deps=[], pre_call=note)(double)
    assert isinstance(direct, Zen) and isinstance(configured, RayZen)
    assert direct.func is configured.func is double
    assert configured.pre_call is note
    assert repr(direct) == repr(zen(double)) == "zen[double(x, y, kw)](cfg, /)"


class Own(RayZen[Any, Any]):
    CFG_NAME = "secret"

    def instantiate(self, cfg: Any, /) -> Any:
        return f"{super().instantiate(cfg)} by Own"


def test_a_class_of_the_user_s_own() -> None:
    def task(x: Any, secret: Any) -> tuple[Any, Any]:
        return x, secret.y

    assert ray_zen(task, ZenWrapper=Own)({"x": builds(int, 3), "y": 4}) == ("3 by Own", 4)


def test_it_pickles() -> None:
    import pickle

    loaded = pickle.loads(pickle.dumps(ray_zen(double)))
    assert loaded({"x": 3}) == (6, {})


# Without hydra-zen


def test_without_hydra_zen_the_error_says_how_to_get_it(tmp_path: Path) -> None:
    script = """
import sys
sys.modules["hydra_zen"] = None
import ray_decorator
from ray_decorator import ray_decorator as decorate, InputError
assert decorate().__name__ == "decorate"
for name in ("ray_zen", "RayZen"):
    try:
        getattr(ray_decorator, name)
    except ImportError as exc:
        print(exc)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"{name} needs hydra-zen, which is not installed: pip install 'ray-decorator[zen]'"
        for name in ("ray_zen", "RayZen")
    ]


def test_importing_the_package_is_light() -> None:
    heavy = {"ray", "boto3", "obstore", "rich", "hydra", "omegaconf"}
    script = f"import sys, ray_decorator; print(*{heavy!r} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
