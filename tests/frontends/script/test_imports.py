"""What a script has imported goes along where its code may ask for it by its name as text."""

from __future__ import annotations

import collections
import functools
import json
import random
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

import pytest

from ray_decorator.frontends.script import imports as script_imports

MAIN = types.ModuleType("__main__")
vars(MAIN).update(js=json, Counter=collections.Counter, size=len, LIMIT=3, __doc__="text", local=lambda: 0)


def evaluates(name: str) -> Any:
    return eval(name)


def within(name: str) -> Callable[[], Any]:
    return lambda: [globals()[each] for each in [name]]


def by_module(name: str) -> Any:
    return getattr(sys.modules[__name__], name)


def only_sounds_so(model: Any) -> Any:
    return model.eval(), __name__


@pytest.mark.parametrize("function", [evaluates, within, by_module])
def test_functions_that_may_ask_for_it(function: Any) -> None:
    found = script_imports.of(MAIN, [3, only_sounds_so, function])
    assert found == {"js": "json", "Counter": "collections:Counter", "size": "builtins:len"}
    assert script_imports.imported(found) == {"js": json, "Counter": collections.Counter, "size": len}


ANNOTATED = """
from __future__ import annotations
import typing

class Annotated:
    sizes: Counter[Size]
    nothing: gone.Thing
    strange: "not a type"

    def method(self) -> js.JSONDecoder: ...

Annotated.__annotations__["within"] = typing.Optional[typing.List["size"]]
"""


def test_what_annotations_name_that_are_text() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(ANNOTATED, names)
    functions = [names["Annotated"], names["Annotated"].method, 3]
    assert script_imports.annotated(functions) == {"Counter", "Size", "gone", "js", "size"}
    assert script_imports.of(MAIN, functions) == {
        "js": "json",
        "Counter": "collections:Counter",
        "size": "builtins:len",
    }


@pytest.mark.parametrize("value", [functools.wraps, collections.Counter, json, typing.Any], ids=range(4))
def test_a_place_is_where_the_very_thing_is(value: Any) -> None:
    place = script_imports.place_of(value)
    assert place is not None and script_imports.imported({"it": place})["it"] is value


def test_what_no_module_has_under_its_name_has_no_place() -> None:
    """The second one says that its name is ``Optional``, the third one ``Random.random``."""
    for value in (typing.TypeVar("T"), typing.Union[int, None], random.random, lambda: 0):  # noqa: UP007
        assert script_imports.place_of(value) is None


def test_others_need_nothing() -> None:
    assert script_imports.of(MAIN, [only_sounds_so, print, 3]) == {}


def test_what_is_not_here_is_left_out() -> None:
    assert script_imports.imported({"gone": "not.here", "too": "json:not_there", "js": "json"}) == {
        "js": json
    }
