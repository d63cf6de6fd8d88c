"""What a script has imported goes along where its code may ask for it by its name as text."""

from __future__ import annotations

import collections
import json
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from ray_decorator.frontends import script_imports

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


def test_others_need_nothing() -> None:
    assert script_imports.of(MAIN, [only_sounds_so, print, 3]) == {}


def test_what_is_not_here_is_left_out() -> None:
    assert script_imports.imported({"gone": "not.here", "too": "json:not_there", "js": "json"}) == {
        "js": json
    }
