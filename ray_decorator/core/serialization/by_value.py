"""What a script may define and pickle does not take: it looks it up by name, or finds a lock in it.

    functools.lru_cache, cache             the function, with an empty cache
    functools.cached_property              its function (Python 3.11 has a lock in it)
    functools.singledispatch               its functions (they are in a weak dictionary, too)
    typing.NewType                         its name and type
    dataclasses.MISSING                    the one that is there, since fields are compared with it (a copy, too:
                                           plain cloudpickle copies it with a class, and so does Ray)
    weak references and dictionaries       what they lead to; it is gone there if nothing else holds it

What a module has that workers can import still goes by its name.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import typing
import weakref
from collections.abc import Callable
from typing import Any


def _is_elsewhere(module: str | None, path: str) -> bool:
    return module in sys.modules and module != "__main__" and "<locals>" not in path


def _reduce_cache(cached: Any) -> str | tuple[Any, ...]:
    if _is_elsewhere(cached.__module__, cached.__qualname__):
        return str(cached.__reduce__())
    parameters = cached.cache_parameters()
    return _cache, (cached.__wrapped__, parameters["maxsize"], parameters["typed"])


def _cache(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _reduce_property(found: functools.cached_property[Any]) -> tuple[Any, ...]:
    return _property, (found.func, found.attrname)


def _property(function: Callable[[Any], Any], name: str | None) -> Any:
    made = functools.cached_property(function)
    made.attrname = name  # whoever makes a class anew does not tell its attributes their names
    return made


def _reduce_new_type(kind: Any) -> str | tuple[Any, ...]:
    if _is_elsewhere(kind.__module__, kind.__qualname__):
        return str(kind.__reduce__())
    return _new_type, (kind.__qualname__, kind.__supertype__, kind.__module__)


def _new_type(name: str, supertype: Any, module: str) -> Any:
    made: Any = typing.NewType(name, supertype)  # type: ignore[misc]
    made.__module__ = module
    return made


def _reduce_weak(found: weakref.WeakKeyDictionary[Any, Any] | weakref.WeakValueDictionary[Any, Any]) -> Any:
    return type(found), (dict(found),)


def _reduce_reference(found: weakref.ref[Any]) -> tuple[Any, ...]:
    """One to an object that is gone is one that is gone there, too."""
    value = found()
    return (_gone, ()) if value is None else (weakref.ref, (value,))


def _gone() -> weakref.ref[Any]:
    return weakref.ref(type("gone", (), {})())


def _reduce_missing(_: Any) -> tuple[Any, ...]:
    return _missing, ()


def _missing() -> Any:
    return dataclasses.MISSING


REDUCTIONS: dict[type, Callable[[Any], Any]] = {
    functools._lru_cache_wrapper: _reduce_cache,
    functools.cached_property: _reduce_property,
    typing.NewType: _reduce_new_type,
    weakref.WeakKeyDictionary: _reduce_weak,
    weakref.WeakValueDictionary: _reduce_weak,
    weakref.ref: _reduce_reference,
    type(dataclasses.MISSING): _reduce_missing,
}
"""For a pickler's ``dispatch_table``."""
