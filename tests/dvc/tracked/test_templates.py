"""What `${…}` stands for, compared with dvc's own resolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dvc.parsing.context import Context
from dvc.utils.serialize import load_path

from ray_decorator.core.errors import InputError
from ray_decorator.dvc.tracked import templates

SCALARS = """
a: [yes, no, on, Off, y, true, False, TRUE, null, ~, Null]
b: [1, -1, 010, 0o14, 0x1f, 1_000, 1:30, 0b11]
c: [1e-3, 1E5, 1.50, -.5, .inf, 1., 1.5e+3, 1_0.5, "0.10", '1', 2024x]
d: {1: one, x: {y: [p, {q: deep}]}}
"""


def test_scalars_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(SCALARS)
    from dvc.fs import LocalFileSystem

    assert templates.load(str(file)) == load_path(str(file), LocalFileSystem())


@pytest.mark.parametrize(
    "template",
    [
        "${x}",
        "${ x }",
        "${d.y[1].q}",
        "${d.y.0}",
        "a-${x}-${t}-${f}",
        r"\${x}${x}",
        {"k": ["${t}", 5, None]},
        "${l}/${x}",
        "${x",
        "$x",
    ],
)
def test_a_template_becomes_what_dvc_makes_of_it(template: Any) -> None:
    known = {"x": 1, "t": True, "f": 1e-05, "d": {"y": ["p", {"q": "deep"}]}, "l": "name"}
    assert templates.resolved(template, known) == Context(known).resolve(template)


@pytest.mark.parametrize("name", ["${gone}", "${x.y}", "${l[7]}", "${l.x}", "a ${gone} b"])
def test_what_names_nothing_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match=r"\$\{.*\} names nothing that is in params.yaml or in vars"):
        templates.resolved(name, {"x": 1, "l": [1]})


def test_variables_come_from_params_and_from_files_and_mappings_that_are_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("lr: 1\nmodel: {name: svm}\n")
    (tmp_path / "more.json").write_text('{"depth": 3, "width": 4, "other": 5}')
    (tmp_path / "more.toml").write_text("[data]\npath = 'here'\n")
    named = ["more.json:depth,width", "more.toml", {"model": {"size": 2}}]
    known = templates.variables(str(tmp_path), named)
    assert known == {
        "lr": 1,
        "model": {"name": "svm", "size": 2},
        "depth": 3,
        "width": 4,
        "data": {"path": "here"},
    }
    of_a_stage = templates.variables(str(tmp_path), [{"model": {"own": 1}}], known)
    assert of_a_stage["model"] == {"name": "svm", "size": 2, "own": 1}
    assert known["model"] == {"name": "svm", "size": 2}  # the other stages' is as it was


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.yaml", "a: [", "cannot be read as DVC would"),
        ("p.py", "a = ", "cannot be read as DVC would"),
        ("p.yaml", "- 1", "holds a list; expected a mapping"),
        ("gone.yaml", None, "cannot be read as DVC would"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        templates.load(str(tmp_path / name))
