"""A job's process takes over what it inherited; what the user gave to all workers wins."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ray_decorator.core.paths import Folder
from ray_decorator.core.values.inherited import Inherited, Variable
from ray_decorator.job.process import inheritance, workplace
from ray_decorator.job.process.inheritance import chosen_variables, take_over, value_here
from ray_decorator.job.process.process_state import restored


def taken_over(
    inherited: Inherited, directory: Path, *, at_home: bool = True
) -> tuple[dict[str, str], list[str]]:
    with restored(os.getcwd(), [], directory):
        take_over(inherited, at_home=at_home)
        return dict(os.environ), list(sys.argv)


def test_variables_are_set_and_unset_and_all_is_as_before_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANGED", "here")
    monkeypatch.setenv("UNSET", "here")
    before = dict(os.environ), list(sys.argv)
    values = {
        "CHANGED": Variable("at home"),
        "NEW": Variable("a: b"),
        "UNSET": Variable(None),
        "NONE": Variable(None),
    }
    environ, argv = taken_over(Inherited(values, ("app.py", "x=1")), tmp_path)
    assert (environ["CHANGED"], environ["NEW"], environ[inheritance.JOB]) == (
        "at home",
        "a: b",
        str(os.getpid()),
    )
    assert not {"UNSET", "NONE"} & environ.keys()
    assert argv == ["app.py", "x=1"]
    assert (dict(os.environ), list(sys.argv)) == before


def test_those_of_aws_are_the_drivers_on_its_machine_and_elsewhere_what_the_app_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_REGION", "AWS_ROLE_ARN", "AWS_MAX_ATTEMPTS", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(name, "node's")
    monkeypatch.setenv("RAY_S3_CHOSEN", "AWS_MAX_ATTEMPTS")
    aws = {name: Variable("driver's") for name in ("AWS_REGION", "AWS_PROFILE", "AWS_MAX_ATTEMPTS")}
    aws["AWS_CA_BUNDLE"] = Variable(None)
    given = Inherited(aws=aws, aws_everywhere=frozenset({"AWS_PROFILE", "AWS_CA_BUNDLE"}))

    def found(given: Inherited, *, at_home: bool) -> dict[str, str]:
        environ, _ = taken_over(given, tmp_path, at_home=at_home)
        return {name: value for name, value in environ.items() if name.startswith("AWS_")}

    ours = {"AWS_PROFILE": "driver's", "AWS_MAX_ATTEMPTS": "node's"}
    assert found(given, at_home=True) == {**ours, "AWS_REGION": "driver's"}
    assert found(given, at_home=False) == {**ours, "AWS_REGION": "node's"}  # who chooses a profile is no role
    way = replace(given, aws_everywhere=frozenset({"AWS_REGION"}))
    theirs = dict.fromkeys(("AWS_ROLE_ARN", "AWS_MAX_ATTEMPTS", "AWS_CA_BUNDLE"), "node's")
    assert found(way, at_home=False) == {**theirs, "AWS_REGION": "driver's"}
    kept = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    with monkeypatch.context() as patch:
        patch.setenv("RAY_S3_CHOSEN", "AWS_ROLE_ARN")
        patch.delenv("AWS_CA_BUNDLE")
        assert found(given, at_home=False) == {name: kept[name] for name in kept if name != "AWS_CA_BUNDLE"}
    for at_home in (True, False):
        assert found(given.without_aws(), at_home=at_home) == kept


def test_what_the_runtime_env_gives_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_S3_CHOSEN", "MINE THEIRS")
    monkeypatch.setenv("MINE", "of the runtime_env")
    values = {"MINE": Variable("at home"), "THEIRS": Variable(None), "OTHER": Variable("at home")}
    monkeypatch.setenv("THEIRS", "of the runtime_env too")
    environ, _ = taken_over(Inherited(values), tmp_path)
    assert (environ["MINE"], environ["THEIRS"]) == ("of the runtime_env", "of the runtime_env too")
    assert environ["OTHER"] == "at home"
    assert chosen_variables() >= {"MINE", "THEIRS"}


def test_a_path_of_the_drivers_code_leads_to_it_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workplace, "_stands_for", [(Folder("/home/me/shop", True), Path("/node/code/0"))])
    monkeypatch.setattr(workplace, "_main", Path("/node/code/0/app.py"))
    variable = Variable("/linked/shop/data", "/home/me/shop/data")
    assert value_here(variable) == "/node/code/0/data"
    assert value_here(Variable("/linked/shop/", "/home/me/shop")) == "/node/code/0/"
    assert (
        value_here(Variable("/home/me/shop/data")) == "/home/me/shop/data"
    )  # it is no path, says the driver
    assert value_here(Variable("/other", "/other")) == "/other"
    environ, argv = taken_over(Inherited({"ROOT": variable}, ("app.py", "x=1")), tmp_path)
    assert (environ["ROOT"], argv) == ("/node/code/0/data", ["/node/code/0/app.py", "x=1"])
