"""A job's process takes over what it inherited; what the user gave to all workers wins."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ray_decorator.core.inherited import Inherited, Variable
from ray_decorator.core.paths import Folder
from ray_decorator.job import inheritance, workplace
from ray_decorator.job.inheritance import chosen_variables, take_over, value_here
from ray_decorator.job.process_state import restored


def taken_over(inherited: Inherited, directory: Path) -> tuple[dict[str, str], list[str]]:
    with restored(os.getcwd(), [], directory):
        take_over(inherited)
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
