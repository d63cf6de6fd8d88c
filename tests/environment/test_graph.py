"""Which distributions require which."""

from __future__ import annotations

from importlib import metadata

import pytest
from packaging.requirements import Requirement

from ray_decorator.environment import graph

NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("line", "extras", "found"),
    [
        ("Alpha_Beta>=1", (), [("alpha-beta", NONE)]),
        ("alpha [x, y] (>1)", (), [("alpha", frozenset("xy"))]),
        ("alpha ; extra == 'more'", (), []),
        ("alpha ; extra == 'more'", ("other", "more"), [("alpha", NONE)]),
        ("alpha ; extra == 'more' and python_version < '3'", ("more",), []),
        ("alpha ; python_version > '3' and extra == 'more'", (), []),
        ("alpha ; python_version > '3' or extra == 'more'", (), [("alpha", NONE)]),
        ("alpha ; (python_version<'3') or extra == 'more'", (), []),
        ("alpha ; extra != 'more'", (), [("alpha", NONE)]),
        ("alpha @ https://example.org/a.whl;b ; extra == 'more'", (), [("alpha", NONE)]),
        ("alpha @ https://example.org/a.whl", (), [("alpha", NONE)]),
        ("alpha ; no marker", (), [("alpha", NONE)]),
    ],
)
def test_what_a_line_requires(line: str, extras: tuple[str, ...], found: list[graph.Wanted]) -> None:
    assert list(graph.required([line], extras)) == found


def test_what_is_reached_is_so_by_way_of_the_extras_that_are_asked_for() -> None:
    requires = {"a": ("b[http]",), "b": ("c; extra == 'http'", "d; extra == 'ssh'"), "c": ("a",), "e": ()}
    assert graph.reached([("a", NONE)], requires) == {"a", "b", "c"}
    assert graph.reached([("b", NONE)], requires) == {"b"}
    assert graph.reached([("b", frozenset({"ssh"})), ("e", NONE)], requires) == {"b", "d", "e"}


def test_names_that_require_one_another_have_one_root() -> None:
    requires = {"a": ("b",), "b": ("a",), "c": ("d", "x"), "d": (), "e": ("e",)}
    assert graph.roots(requires) == ("c", "e", "a")


def test_every_marker_of_this_environment_is_taken_as_packaging_takes_it() -> None:
    lines = [line for each in metadata.distributions() for line in each.requires or ()]
    wanted = [graph.names([line]) != () for line in lines]
    assert wanted == [
        (marker := Requirement(line).marker) is None or marker.evaluate({"extra": ""}) for line in lines
    ]
    assert len({*wanted}) == 2
