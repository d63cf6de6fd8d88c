"""What makes two jobs the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ray_decorator.core.records.job_ids import Surroundings, digest_of, job_id
from ray_decorator.core.values.contents import Content, Extras
from ray_decorator.core.values.work import Work

WORK = Work("__main__", "main", "/project/app.py", "config")
AROUND = Surroundings("code", "packages", {"/project/app.py": "0/app.py"}, ("/lib/site-packages",))
DATA = Content("0" * 32 + ".dir", 10, 2)


def made(
    work: Work = WORK, around: Surroundings = AROUND, deps: Any = None, outs: Any = ("model", "log")
) -> str | None:
    return job_id(work, around, {"data": DATA, "model": None} if deps is None else deps, outs)


@pytest.mark.parametrize(
    "other",
    [
        {"work": replace(WORK, name="train")},
        {"work": replace(WORK, config="another")},
        {"around": replace(AROUND, code="another")},
        {"around": replace(AROUND, packages="others")},
        {"around": replace(AROUND, places={"/project/app.py": "0/train.py"})},
        {"deps": {"data": replace(DATA, digest="1" * 32 + ".dir"), "model": None}},
        {"deps": {"data": replace(DATA, executables=("a",)), "model": None}},
        {"deps": {"data": replace(DATA, extras=Extras(folders=("empty",))), "model": None}},
        {"deps": {"data": DATA}},
        {"deps": {"data": DATA, "model": DATA}},
        {"deps": {"data2": DATA, "model": None}},
        {"outs": ("model",)},
    ],
    ids=range(12),
)
def test_it_is_another_job(other: Any) -> None:
    first = made()
    assert first is not None and len(first) == 64
    assert made(**other) not in (first, None)


@pytest.mark.parametrize(
    "other",
    [
        {"work": replace(WORK, app="another", overrides=("y=1",))},
        {"around": replace(AROUND, places={"/project/app.py": "0/app.py", "/project/b.py": "0/b.py"})},
        {"outs": ("log", "model")},
        {"deps": {"model": None, "data": DATA}},
    ],
    ids=range(4),
)
def test_it_is_the_same_job(other: Any) -> None:
    assert made(**other) == made()


def test_the_project_may_lie_elsewhere() -> None:
    moved = replace(AROUND, places={"/moved/app.py": "0/app.py"})
    assert made(replace(WORK, source="/moved/app.py"), moved) == made()


def test_a_task_of_an_installed_package_is_named_by_its_module() -> None:
    installed = replace(WORK, module="tool.train", source="/lib/site-packages/tool/train.py")
    assert AROUND.task(installed) == "tool.train:main"
    assert made(installed) not in (None, made())


@pytest.mark.parametrize("source", ["", "/elsewhere/app.py"])
def test_a_task_whose_code_nobody_knows_is_no_job_of_the_ledgers(source: str) -> None:
    assert made(replace(WORK, source=source)) is None


def test_the_order_of_a_dict_does_not_count() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1}) != digest_of({"a": 1, "b": 2})
