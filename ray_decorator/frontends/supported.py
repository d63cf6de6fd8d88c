"""Which functions can be called on a worker: not those whose call runs nothing yet."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ..core.errors import InputError


def check_supported(function: Callable[..., Any], *, coroutines: bool = False) -> None:
    """Raise InputError for a generator function of either kind, and, unless ``coroutines``, for a coroutine function.

    What is said of functions holds for partials of them, and for objects with such a ``__call__``. A function that
    wraps another one is taken for what it is itself: it may well run what it wraps.
    """
    called = _called(function)
    name = getattr(called, "__qualname__", repr(called)).rpartition("<locals>.")[2]
    if is_coroutine_function(called) and not coroutines:
        raise InputError(
            f"{name} is a coroutine function, and a call on Ray awaits nothing. Wrap it: "
            f"def run(*args, **kwargs): return asyncio.run({name}(*args, **kwargs))"
        )
    if inspect.isgeneratorfunction(called):
        raise InputError(
            f"{name} is a generator function, and a generator cannot leave its process. Return a list, or wrap it: "
            f"def run(*args, **kwargs): return list({name}(*args, **kwargs))"
        )
    if inspect.isasyncgenfunction(called):
        raise InputError(
            f"{name} is an async generator function, and a generator cannot leave its process. Return a list: "
            "collect what it yields in a coroutine, and return asyncio.run(…) of that"
        )


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether a call of ``function``, of a partial or of an object makes a coroutine."""
    return inspect.iscoroutinefunction(_called(function))


def _called(function: Any) -> Any:
    """What Python runs for a call of ``function``."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    return getattr(type(function), "__call__", function)  # noqa: B004 (the method itself is wanted)
