"""What belongs to one process, and a script has made: locks, events, queues, context variables, thread-locals, pools.

Pickle refuses them, rightly for a lock that two processes should share. A script's own are another matter: a program
that runs elsewhere has its own there, as each process has that runs it. So a lock is a new one, which nobody holds; a
context variable and a thread-local have what they have here and now; a pool of threads has no threads yet.

They are a script's own where its globals lead to them: by themselves, in its classes, in instances of those, in
containers. What a module has that can be imported is that module's there, too. All others are refused as before
(a client of S3 holds locks, and a key).
"""

from __future__ import annotations

import concurrent.futures
import contextvars
import importlib
import queue
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

_LOCK, _RLOCK = type(threading.Lock()), type(threading.RLock())
_MADE_OF_LOCKS = (
    threading.Event,
    threading.Condition,
    threading.Semaphore,
    threading.BoundedSemaphore,
    threading.Barrier,
    queue.Queue,
    queue.LifoQueue,
    queue.PriorityQueue,
)
_DEPTH = 5  # an instance, its event, the condition of that, its lock


def _reduce(value: Any) -> str | tuple[Any, ...]:
    if (place := _module_that_has(value)) is not None:
        return _of_module, place
    if isinstance(value, _MADE_OF_LOCKS):
        return value.__reduce_ex__(2)
    if not _is_scripts_own(value):
        raise TypeError(f"cannot pickle {type(value).__module__}.{type(value).__qualname__!r} object")
    return _anew(value)


def _anew(value: Any) -> tuple[Any, ...]:
    match value:
        case contextvars.ContextVar():
            return _context_variable, (value.name, _default_of(value), _set_here(value))
        case threading.local():
            return _thread_local, (dict(vars(value)),)
        case concurrent.futures.ThreadPoolExecutor():
            # no public names; without them, a pool of the usual size
            names = ("_max_workers", "_thread_name_prefix", "_initializer", "_initargs")
            return concurrent.futures.ThreadPoolExecutor, tuple(
                getattr(value, name, usual) for name, usual in zip(names, (None, "", None, ()), strict=True)
            )
    return (threading.RLock if isinstance(value, _RLOCK) else threading.Lock), ()


def _default_of(variable: contextvars.ContextVar[Any]) -> tuple[Any, ...]:
    """One value, or none."""
    try:
        return (contextvars.Context().run(variable.get),)
    except LookupError:
        return ()


def _set_here(variable: contextvars.ContextVar[Any]) -> tuple[Any, ...]:
    """One value, or none: a default is not set."""
    here = contextvars.copy_context()
    return (here[variable],) if variable in here else ()


def _context_variable(name: str, default: tuple[Any, ...], now: tuple[Any, ...]) -> Any:
    made = contextvars.ContextVar(name, default=default[0]) if default else contextvars.ContextVar(name)
    if now:
        made.set(now[0])
    return made


def _thread_local(values: dict[str, Any]) -> threading.local:
    made = threading.local()
    vars(made).update(values)
    return made


def _of_module(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _module_that_has(value: Any) -> tuple[str, str] | None:
    for name, module in list(sys.modules.items()):
        if name in ("__main__", "__mp_main__") or not isinstance(module, types.ModuleType):
            continue
        if getattr(module, "__spec__", None) is None:  # not imported, but made
            continue
        for key, found in list(vars(module).items()):
            if found is value:
                return name, key
    return None


def _is_scripts_own(value: Any) -> bool:
    main = sys.modules.get("__main__")
    return main is not None and any(each is value for each in _owned(vars(main), _DEPTH, set()))


def _owned(value: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    """``value`` and what is in it, where the script has made it."""
    yield value
    if depth < 0 or id(value) in seen:
        return
    seen.add(id(value))
    for part in _parts(value):
        yield from _owned(part, depth - 1, seen)


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple):
        return list(value)
    kind = value if isinstance(value, type) else type(value)
    if isinstance(value, _MADE_OF_LOCKS) or kind.__module__ == "__main__":
        return list(getattr(value, "__dict__", {}).values())
    return []


REDUCTIONS: dict[type, Callable[[Any], Any]] = dict.fromkeys(
    (
        _LOCK,
        _RLOCK,
        *_MADE_OF_LOCKS,
        contextvars.ContextVar,
        threading.local,
        concurrent.futures.ThreadPoolExecutor,
    ),
    _reduce,
)
"""For a pickler's ``dispatch_table``."""
