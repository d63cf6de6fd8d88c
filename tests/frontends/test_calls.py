"""Requests become calls: paths found and named, all that is wrong said at once, nothing started."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from ray_decorator.core.errors import InputError, PicklingError
from ray_decorator.core.options.settings import Options
from ray_decorator.core.values.model import Outcome, Paths
from ray_decorator.frontends import calls
from ray_decorator.frontends.calls import Request, run, shown, submit, value_of
from ray_decorator.frontends.terms import Terms


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def request(name: str = "f", **kwargs: Any) -> Request:
    return Request((), kwargs, kwargs, lambda slot: ("kwargs", *slot), name)


def made(function: Any, requests: list[Request], terms: Terms) -> Any:
    return calls._calls(function, requests, terms)


def test_a_request_becomes_a_call_that_runs_with_other_paths(home: Path) -> None:
    terms = Terms(("data",), ("out.model",))
    [call] = made(lambda data, out: (data, out), [request(data="data", out={"model": "m"})], terms)
    assert [(path.key, path.value) for path in (*call.deps, *call.outs)] == [
        ("data", home / "data"),
        ("out.model", home / "m"),
    ]
    assert (call.name, call.workspace) == ("f", None)
    task = pickle.loads(call.func)
    assert task(call.payload, Paths(("/d",), ("/m",))) == ("/d", {"model": "/m"})
    assert task.hydra is None  # plain functions need none of it


@pytest.mark.parametrize(
    "value",
    [[OmegaConf.create({"a": 1})], {"b": OmegaConf.create([1])}, partial(dict, OmegaConf.create({}))],
)
def test_where_a_config_is_involved_hydras_state_goes_along(value: Any) -> None:
    [call] = made(print, [request(x=value)], Terms())
    assert pickle.loads(call.func).hydra is not None


def test_calls_of_one_batch_share_the_function() -> None:
    first, second = made(print, [request("a", x=1), request("b", x=2)], Terms())
    assert first.func is second.func and first.payload != second.payload


def test_all_that_is_wrong_names_its_calls_and_nothing_starts() -> None:
    terms = Terms(("data", "typo"))
    with pytest.raises(InputError) as caught:
        run(print, [request("a", data="gone"), request("b", data="data")], terms)
    typo, gone = sorted(caught.value.problems, reverse=True)
    assert typo.startswith("deps key 'typo' does not exist.") and typo.endswith("(2 jobs: a, b)")
    assert "gone, which does not exist" in gone and gone.endswith("(job a)")


def test_bad_settings_come_first(home: Path) -> None:
    with pytest.raises(InputError, match=r"^packages is 'some'"):
        run(print, [request(data="gone")], Terms(("data",), (), Options(packages="some")))


def test_no_requests_need_no_ray() -> None:
    assert run(print, [], Terms()) == []


def test_whatever_goes_wrong_with_a_submit_is_the_futures_but_for_ctrl_c() -> None:
    def asked(wrong: BaseException) -> Request:
        raise wrong

    wrong = InputError("bad")
    assert submit(print, lambda: asked(wrong), Terms()).exception(10) is wrong
    with pytest.raises(KeyboardInterrupt):
        submit(print, lambda: asked(KeyboardInterrupt()), Terms())


def test_an_argument_that_cannot_travel_is_named() -> None:
    with pytest.raises(PicklingError, match="an argument of f"):
        made(print, [request(x=(n for n in ()))], Terms())


def test_what_a_user_sees_of_a_function() -> None:
    def inner() -> None: ...

    assert shown(inner) == "inner"
    assert shown(Path.exists) == "Path.exists"
    assert shown(partial(inner)) == "partial"


def test_a_value_or_its_exception() -> None:
    assert value_of(Outcome("f", value=3)) == 3
    with pytest.raises(KeyError):
        value_of(Outcome("f", error=KeyError("x")))


def test_a_dvc_remote_is_looked_up_where_the_app_is(home: Path) -> None:
    """Before anything starts: neither Ray nor the store is asked."""
    terms = Terms((), (), Options(s3_base_path="dvc://absent"))
    with pytest.raises(InputError, match=r"s3_base_path is 'dvc://absent', but .* is in no DVC repository"):
        run(print, [request()], terms)
    (home / ".dvc").mkdir()
    with pytest.raises(InputError, match=r"has no remote 'absent'\. See `dvc remote list`"):
        run(print, [request()], terms)


def test_a_dep_that_is_not_here_and_that_dvc_tracks_is_none_of_the_problems(home: Path) -> None:
    (home / ".dvc").mkdir()
    (home / "far.bin.dvc").write_text(f"outs:\n- md5: {'a' * 32}\n  hash: md5\n  path: far.bin\n")
    [call] = made(print, [request(data="far.bin")], Terms(("data",), ()))
    assert [path.value for path in call.deps] == [home / "far.bin"]
    with pytest.raises(InputError, match=r"deps key 'data' is .*/near\.bin, which does not exist"):
        made(print, [request(data="near.bin")], Terms(("data",), ()))


def test_functions_leave_no_receipts_so_resume_is_refused() -> None:
    terms = Terms(options=Options(resume=True))
    with pytest.raises(InputError, match="resume is for the jobs of a Hydra app"):
        calls.run(abs, [], terms)
