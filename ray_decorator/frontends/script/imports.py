"""What a script has imported, for code that asks for it by its name as text: ``eval(cfg.optimizer)``.

What functions name themselves comes with them. The rest is imported on the worker only where a function of the
script uses ``eval``, ``exec``, ``globals`` or ``sys.modules[__name__]``: imports take time, and few tasks need them.
Annotations are text, too (``from __future__ import annotations``), which ``get_type_hints``, OmegaConf's structured
configs and others read: what they name is always there.
"""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import importlib
import operator
import sys
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

_ASKS = {"eval", "exec", "globals", "__main__"}
_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME"}
"""Not of attributes: ``model.eval()`` asks for nothing."""


def of(main: types.ModuleType, functions: Collection[Any]) -> dict[str, str]:
    """Each name with its module, or ``module:name``, that ``functions`` and their annotations may ask for."""
    codes = (getattr(each, "__code__", None) for each in functions)
    if any(_asks(code) for code in codes if isinstance(code, types.CodeType)):
        asked: Iterable[str] = [name for name in vars(main) if not name.startswith("__")]
    else:
        asked = annotated(functions)
    found = {name: place_of(vars(main).get(name)) for name in asked}
    return {name: place for name, place in found.items() if place is not None}


def annotated(functions: Iterable[Any]) -> set[str]:
    """The names in annotations of functions and classes that are text."""
    texts = (text for each in functions for kind in _annotations(each) for text in _texts(kind))
    return set().union(*map(_names, texts))


@functools.lru_cache(maxsize=10_000)  # of a script: each call of a decorated function asks for them
def _names(text: str) -> frozenset[str]:
    try:
        return frozenset(part.id for part in ast.walk(ast.parse(text)) if isinstance(part, ast.Name))
    except SyntaxError:  # it need not be an expression
        return frozenset()


def _annotations(value: Any) -> Iterable[Any]:
    try:
        return list(value.__annotations__.values())
    except Exception:  # since Python 3.14 they are code, which may name what is not there
        return ()


def _texts(kind: Any) -> Iterator[str]:
    if isinstance(kind, str):
        yield kind
    elif isinstance(kind, typing.ForwardRef):
        yield kind.__forward_arg__
    for part in typing.get_args(kind):
        yield from _texts(part)


def imported(places: Mapping[str, str]) -> dict[str, Any]:
    """What of it can be imported here. What cannot be is missing only where it is asked for."""
    found = {}
    for name, place in places.items():
        module, _, path = place.partition(":")
        with contextlib.suppress(Exception):  # what is imported may raise anything
            value = importlib.import_module(module)
            found[name] = operator.attrgetter(path)(value) if path else value
    return found


def _asks(code: types.CodeType) -> bool:
    loaded = {each.argval for each in dis.get_instructions(code) if each.opname in _LOADS}
    if loaded & _ASKS or ("__name__" in loaded and "modules" in code.co_names):
        return True
    return any(_asks(part) for part in code.co_consts if isinstance(part, types.CodeType))


def place_of(value: Any) -> str | None:
    """Where it can be imported from; None where it is of the script, or has no such name."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    module, path = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(path, str) or module == "__main__":
        return None
    with contextlib.suppress(AttributeError):  # names of its own making, as those of a local function
        if operator.attrgetter(path)(sys.modules.get(module)) is value:
            return f"{module}:{path}"
    return None
