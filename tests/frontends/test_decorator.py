"""What a user does with @ray_decorator, then what must be true. Real Ray, real store."""

from __future__ import annotations

import copy
import functools
import inspect
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from omegaconf import DictConfig, OmegaConf

from ray_decorator import InputError, PicklingError
from ray_decorator.core.errors import RemoteTraceback
from ray_decorator.frontends.decorator import ray_decorator

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory that the caller stands in, with its data and a store of its own."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("alpha")
    (tmp_path / "data" / "b.txt").write_text("beta")
    monkeypatch.setenv("RAY_S3_BASE_PATH", (tmp_path / "store").as_uri())
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def text_of(path: Any) -> str:
    path = Path(path)
    return (
        "".join(file.read_text() for file in sorted(path.rglob("*.txt")))
        if path.is_dir()
        else path.read_text()
    )


def write(path: Any, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


@ray_decorator(deps=["data_dir"], outs=["output_dir"])
def process_data(data_dir: str, output_dir: str, times: int = 1) -> dict[str, Any]:
    """Copy the text."""
    write(f"{output_dir}/text.txt", text_of(data_dir) * times)
    return {"pid": os.getpid(), "data": data_dir, "out": output_dir}


def test_a_call_runs_elsewhere_and_its_outs_come_home(home: Path) -> None:
    done = process_data(data_dir="./data", output_dir="./results")
    assert (home / "results/text.txt").read_text() == "alphabeta"
    assert done["pid"] != os.getpid()
    assert not done["data"].startswith(str(home))
    assert not done["out"].startswith(str(home))


def aws_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def test_without_an_s3_store_a_task_has_the_drivers_aws_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    its_own = ray_decorator(credentials="worker")(aws_variables)()
    monkeypatch.setenv("AWS_PROFILE", "b")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of a .env")
    assert ray_decorator()(aws_variables)() == aws_variables()
    monkeypatch.delenv("AWS_PROFILE")
    assert ray_decorator()(aws_variables)() == aws_variables()
    assert ray_decorator(credentials="worker")(aws_variables)() == its_own


def test_local_runs_here() -> None:
    assert process_data.local("data", "results", times=2) == {
        "pid": os.getpid(),
        "data": "data",
        "out": "results",
    }
    assert text_of("results") == "alphabeta" * 2


def test_it_is_still_the_function_that_it_was() -> None:
    assert inspect.isfunction(process_data)
    assert process_data.__name__ == "process_data"
    assert process_data.__doc__ == "Copy the text."
    assert list(inspect.signature(process_data).parameters) == ["data_dir", "output_dir", "times"]


# Arguments of every kind


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (("data", "results", 3), {}),
        (("data",), {"output_dir": "results", "times": 3}),
        ((), {"times": 3, "output_dir": "results", "data_dir": "data"}),
    ],
)
def test_positional_and_keyword_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    process_data(*args, **kwargs)
    assert text_of("results") == "alphabeta" * 3


@ray_decorator(deps=["source"], outs=["target"])
def with_defaults(source: str = "data", *, target: Path = Path("results.txt")) -> type:
    write(target, text_of(source))
    return type(target)


def test_defaults_are_deps_and_outs_too(home: Path) -> None:
    kind = with_defaults()
    assert (home / "results.txt").read_text() == "alphabeta"
    assert issubclass(kind, Path)


@ray_decorator(deps=["sources", "first"], outs=["targets.1", "log"])
def variadic(first: str, /, *sources: Any, **targets: Any) -> Any:
    raise AssertionError("never called")


def test_a_key_of_var_arguments_that_are_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"outs key 'targets\.1' does not exist"):
        variadic("data/a.txt", "data/b.txt", log="log.txt")


@ray_decorator(deps=["first", "sources.1", "sources.0"], outs=["log", "targets.copy.path"])
def many(first: str, /, *sources: str, **targets: Any) -> tuple[str, ...]:
    write(targets["log"], "-".join(map(text_of, (first, *sources))))
    write(targets["copy"]["path"], "copy")
    return tuple(Path(path).name for path in (first, *sources))


def test_var_positional_and_var_keyword_arguments(home: Path) -> None:
    names = many("data", "data/a.txt", "data/b.txt", log="log.txt", copy={"path": "copy.txt"})
    assert names == ("data", "a.txt", "b.txt")
    assert (home / "log.txt").read_text() == "alphabeta-alpha-beta"
    assert (home / "copy.txt").read_text() == "copy"


@ray_decorator(deps=["config.parts.*.path", "load.keywords_path", "pair"], outs=["config.out"])
def nested(config: dict[str, Any], load: functools.partial[str], pair: list[Path]) -> list[str]:
    write(config["out"], load())
    return [text_of(part["path"]) for part in config["parts"]] + [text_of(path) for path in pair]


def load_text(keywords_path: str) -> str:
    return text_of(keywords_path)


def test_keys_lead_through_dicts_lists_and_partials(home: Path) -> None:
    config = {"parts": [{"path": "data/a.txt"}, {"path": "data"}], "out": "out.txt"}
    before = copy.deepcopy(config)
    load = functools.partial(load_text, keywords_path="data/b.txt")
    pair = [Path("data/a.txt"), Path("data/b.txt")]
    assert nested(config, load, pair) == ["alpha", "alphabeta", "alpha", "beta"]
    assert (home / "out.txt").read_text() == "beta"
    assert config == before
    assert load.keywords == {"keywords_path": "data/b.txt"}
    assert pair == [Path("data/a.txt"), Path("data/b.txt")]


@dataclass
class Trainer:
    data: Path
    model: str

    @ray_decorator(deps=["self.data"], outs=["self.model"])
    def fit(self, times: int) -> tuple[bool, bool]:
        write(self.model, text_of(self.data) * times)
        return isinstance(self.data, Path), isinstance(self.model, str)


def test_methods(home: Path) -> None:
    trainer = Trainer(home / "data", "model.txt")
    assert trainer.fit(2) == (True, True)
    assert (home / "model.txt").read_text() == "alphabeta" * 2
    assert trainer == Trainer(home / "data", "model.txt")
    assert Trainer.fit.submit(trainer, times=1).result() == (True, True)
    assert (home / "model.txt").read_text() == "alphabeta"


def test_a_partial_can_be_decorated(home: Path) -> None:
    here = functools.partial(process_data.local, "data")
    there = ray_decorator(deps=["data_dir"], outs=["output_dir"])(here)
    assert there(output_dir="results")["pid"] != os.getpid()
    assert text_of("results") == "alphabeta"


def test_arguments_that_do_not_suit_are_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"process_data\(\): missing a required argument: 'output_dir'"):
        process_data("data")  # type: ignore[call-arg]


def test_without_deps_and_outs() -> None:
    @ray_decorator()
    def add(x: int, y: int) -> int:
        return x + y

    assert add(1, y=2) == 3


def test_null_is_no_path() -> None:
    @ray_decorator(deps=["a", "b"], outs=["c"])
    def takes(a: str | None, b: str, c: Path | None = None) -> tuple[Any, ...]:
        return a, text_of(b), c

    assert takes(None, "data") == (None, "alphabeta", None)


# Configs


@ray_decorator(deps=["config.data.path"], outs=["config.training.output_dir"])
def train(config: DictConfig) -> str:
    write(f"{config.training.output_dir}/model.txt", text_of(config.data.path))
    return str(config.data.copy_of_path)


def test_a_config_is_read_where_the_keys_say_and_never_changed(home: Path) -> None:
    config = OmegaConf.create(
        {
            "data": {"path": "${root}/data", "copy_of_path": "${data.path}"},
            "root": str(home),
            "training": {"output_dir": "models"},
            "unset": "???",
        }
    )
    OmegaConf.set_readonly(config, True)
    before = copy.deepcopy(config)
    seen = train(config)
    assert not seen.startswith(str(home))  # interpolations follow the path that the worker has
    assert text_of("models") == "alphabeta"
    assert config == before
    assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(before)


def test_resolvers_of_the_driver_serve_on_the_worker(home: Path) -> None:
    OmegaConf.register_new_resolver("test_home", lambda name: f"{home}/{name}", replace=True)
    try:
        config = OmegaConf.create(
            {
                "data": {"path": "${test_home:data}", "copy_of_path": "${test_home:x}"},
                "training": {"output_dir": "${test_home:models}"},
            }
        )
        assert train(config) == f"{home}/x"
        assert text_of("models") == "alphabeta"
    finally:
        OmegaConf.clear_resolver("test_home")


# Errors


class OwnError(Exception):
    pass


@ray_decorator()
def fails(number: int) -> int:
    if number % 2:
        raise OwnError(f"number {number}")
    return number


class Refusal(ValueError):
    def __init__(self, *, reason: str) -> None:
        super().__init__(f"refused: {reason}")
        self.reason = reason


def refuses(how: str) -> None:
    try:
        {}["gone"]
    except KeyError as exc:
        exc.add_note("looked up")
        if how == "group":
            raise ExceptionGroup("two", [Refusal(reason="a"), OSError(2, "x", "y")]) from exc
        if how == "tool":
            subprocess.run([sys.executable, "-c", "raise SystemExit(3)"], check=True)
        raise Refusal(reason="b") from (None if how == "alone" else exc)


@pytest.mark.parametrize("how", ["cause", "alone", "group", "tool"])
def test_an_exception_is_what_the_function_raises_when_it_is_called_here(how: str) -> None:
    def said(exc: BaseException | None) -> Any:
        if exc is None or isinstance(exc, RemoteTraceback):
            return None
        more = [said(each) for each in getattr(exc, "exceptions", ())]
        own = {k: v for k, v in vars(exc).items() if k != "__notes__"}
        chain = (said(exc.__cause__), said(exc.__context__), exc.__suppress_context__)
        return type(exc), str(exc), exc.args[:1], own, getattr(exc, "__notes__", None), *chain, more

    with pytest.raises(Exception) as here:
        refuses(how)
    with pytest.raises(Exception) as there:
        ray_decorator()(refuses)(how)
    assert said(there.value) == said(here.value)


def test_the_function_s_exception_comes_back_with_the_worker_s_traceback() -> None:
    with pytest.raises(OwnError, match="number 1") as caught:
        fails(1)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in fails" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"deps": ["dat_dir"]}, r"deps key 'dat_dir' does not exist\. Nearest: 'data_dir' \(job process\)"),
        ({"outs": ["data_dir.x"]}, r"outs key 'data_dir\.x' does not exist"),
        ({"deps": ["number"]}, r"deps key 'number' is 7 \(int\); expected a path"),
        ({"deps": ["url"]}, r"deps key 'url' is the URL 's3://bucket/x'; deps are local paths"),
        (
            {"deps": ["gone"]},
            r"deps key 'gone' is \S+/gone\.txt, which does not exist\. .*dvc pull gone\.txt",
        ),
        ({"deps": [""]}, r"deps key '' is not a dotted key"),
    ],
)
def test_bad_keys_and_values_are_named(keys: dict[str, Any], message: str) -> None:
    @ray_decorator(**keys)
    def process(
        data_dir: str = "data", number: int = 7, url: str = "s3://bucket/x", gone: str = "gone.txt"
    ) -> None:
        raise AssertionError("must not run")

    with pytest.raises(InputError, match=message):
        process()


def test_all_that_is_wrong_is_said_at_once() -> None:
    @ray_decorator(deps=["x", "gone"], outs=["number"])
    def process(gone: str = "gone.txt", number: int = 7) -> None:
        raise AssertionError("must not run")

    with pytest.raises(InputError) as caught:
        process()
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("keys", ["data_dir", 3, {"data_dir"}])
def test_keys_that_are_no_list_are_refused_when_decorating(keys: Any) -> None:
    with pytest.raises(InputError, match="expected a list of keys, such as"):
        ray_decorator(deps=keys)


def test_the_decorator_without_parentheses_is_refused() -> None:
    with pytest.raises(InputError, match=r"Write @ray_decorator\(\)"):
        ray_decorator(lambda: None)  # type: ignore[arg-type]


def test_bad_settings_are_the_launcher_s_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="ray_address is 'nowhere'; expected 'local', 'auto'"):
        ray_decorator(ray_address="nowhere")(lambda: None)()
    with pytest.raises(InputError, match="ray_remote_kwargs are not accepted by"):
        ray_decorator(ray_remote_kwargs={"num_cpu": 1})(lambda: None)()
    monkeypatch.delenv("RAY_S3_BASE_PATH")
    with pytest.raises(InputError, match="there is no s3_base_path"):
        ray_decorator(ray_address="10.0.0.1:6379")(lambda: None)()


def test_an_argument_that_cannot_travel_is_named() -> None:
    import threading

    @ray_decorator()
    def process(lock: Any) -> None:
        raise AssertionError("must not run")

    with pytest.raises(PicklingError, match="lock"):
        process({"lock": threading.Lock()})


# map and submit


def test_map_returns_results_in_order(home: Path) -> None:
    done = process_data.map(
        [("data/a.txt", "r0"), {"data_dir": "data", "output_dir": "r1", "times": 2}, ("data/b.txt", "r2", 3)]
    )
    assert [text_of(f"r{index}") for index in range(3)] == ["alpha", "alphabeta" * 2, "beta" * 3]
    assert all(os.getpid() != one["pid"] for one in done)


class Point(NamedTuple):
    x: int
    y: int


@ray_decorator()
def identity(value: Any) -> Any:
    return value


def test_map_takes_what_is_neither_tuple_nor_dict_as_the_only_argument() -> None:
    items = [1, "two", [3], Point(4, 5), OmegaConf.create({"x": 6})]
    assert identity.map(items) == items
    assert identity.map([({"a": 1},)]) == [{"a": 1}]
    assert identity.map(number for number in range(2)) == [0, 1]
    assert identity.map([]) == []


def test_failures_in_a_map_are_each_call_s_own() -> None:
    values = fails.map(range(4), return_exceptions=True)
    assert [values[0], values[2]] == [0, 2]
    assert [str(values[1]), str(values[3])] == ["number 1", "number 3"]
    with pytest.raises(OwnError, match="number 1") as caught:
        fails.map(range(4))
    assert caught.value.__notes__ == [
        "This was #1 fails; 2 of 4 calls failed",
        "#3 fails failed too: OwnError: number 3",
    ]


def test_calls_of_a_map_that_would_write_to_the_same_path_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"#0 process_data .* and job #1 process_data .* would both write .*/same"
    ):
        process_data.map([("data/a.txt", "same"), ("data/b.txt", "same")])
    assert not Path("same").exists()


def test_what_is_wrong_in_a_map_names_its_calls() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"which does not exist.*\(2 jobs: #1 process_data, #2 process_data\)"
    ):
        process_data.map([("data", "r0"), ("gone", "r1"), ("gone", "r2")])
    assert not Path("r0").exists()


@ray_decorator(ray_remote_kwargs={"num_cpus": 0.1})
def meet(mine: str, others: str) -> bool:
    Path(mine).touch()
    deadline = time.monotonic() + 30
    while not Path(others).exists():
        assert time.monotonic() < deadline, "the other call does not run at the same time"
        time.sleep(0.02)
    return True


def test_calls_of_a_map_run_side_by_side(home: Path) -> None:
    one, two = str(home / "one"), str(home / "two")
    assert meet.map([(one, two), (two, one)]) == [True, True]


def test_submit_returns_at_once(home: Path) -> None:
    first = meet.submit(str(home / "one"), str(home / "two"))
    assert isinstance(first, Future)
    assert not first.done()
    assert meet(str(home / "two"), str(home / "one"))
    assert first.result(timeout=30)


def test_a_future_s_exception_is_the_call_s() -> None:
    with pytest.raises(OwnError, match="number 1"):
        fails.submit(1).result(timeout=30)
    assert isinstance(process_data.submit("gone", "r").exception(timeout=30), InputError)


# Inside a Ray task


@ray_decorator()
def inner(number: int) -> tuple[int, int]:
    return number * 2, os.getpid()


@ray_decorator()
def outer(number: int) -> tuple[int, int, int]:
    doubled, pid = inner(number)
    return doubled + 1, pid, os.getpid()


def test_a_call_inside_a_call_uses_the_same_ray() -> None:
    value, inner_pid, outer_pid = outer(1)
    assert value == 3
    assert len({inner_pid, outer_pid, os.getpid()}) == 3


def test_calls_inside_calls_do_not_wait_for_cpus_that_they_hold_themselves() -> None:
    # two CPUs, and both outer calls hold one while they wait for their inner ones
    assert [value for value, *_ in outer.map([1, 2])] == [3, 5]


def test_a_call_inside_a_task_of_the_user_s_own(ray_session: str) -> None:
    import ray

    @ray.remote
    def task() -> int:
        return inner(4)[0]

    assert ray.get(task.remote(), timeout=60) == 8
    assert ray.is_initialized()


# A store that loses or spoils what it holds


@pytest.mark.parametrize("how", ["lost", "spoilt"])
@pytest.mark.parametrize("front", ["call", "map", "submit"])
def test_what_a_store_lost_or_spoilt_is_uploaded_again(
    home: Path, session_caches: Path, how: str, front: str, caplog: pytest.LogCaptureFixture
) -> None:
    def run() -> list[dict[str, Any]]:
        if front == "call":
            return [process_data("data", "results/0")]
        if front == "map":
            return process_data.map([("data", "results/0"), ("data", "results/1")])
        return [process_data.submit("data", f"results/{n}").result(120) for n in range(2)]

    run()
    for file in [path for path in (home / "store" / "files").rglob("*") if path.is_file()]:
        if how == "lost":
            file.unlink()
        else:
            file.chmod(0o644)
            file.write_bytes(b"x" * file.stat().st_size)
    for folder in ("cache", "idle"):
        shutil.rmtree(session_caches / "node" / folder, ignore_errors=True)
    shutil.rmtree(home / "results")
    for number, _ in enumerate(run()):
        assert text_of(f"results/{number}") == "alphabeta"
    # one warning for what is uploaded from here, one for what a job found spoilt
    uploaded, *replaced = [message for message in caplog.messages if "files/md5/" in message]
    assert "no longer holds 1 object(s) as they were staged" in uploaded
    assert f"{home}/data (deps key 'data_dir', files/md5/" in uploaded
    assert bool(replaced) == (how == "spoilt")
    for message in replaced:
        assert re.search(
            r"held other bytes in the place of [12] object\(s\): outs key 'output_dir', ", message
        )
    if front != "map" and how == "spoilt":  # two jobs at once may share what they find
        assert len(replaced) == 1 and "2 object(s): outs key 'output_dir', text.txt (files" in replaced[0]


_MISSING = object()


def left_out(
    x: int,
    root: Any = _MISSING,
    data: Any = ("data",),
    /,
    more: Any = _MISSING,
    *rest: int,
    named: Any = _MISSING,
) -> Any:
    return x, root is _MISSING, [text_of(each) for each in data], more is _MISSING, rest, named is _MISSING


def test_a_default_is_the_functions_own_object(home: Path) -> None:
    function = ray_decorator(deps=["data"])(left_out)
    assert function(1) == left_out(1) == (1, True, ["alphabeta"], True, (), True)
    given = (1, 2, [home / "data/a.txt"], 3, 4)
    assert function(*given, named=5) == left_out(*given, named=5)
    assert function.map([1, (1, 2)]) == [left_out(1), left_out(1, 2)]
