"""Pickling by value, with an error that names what in it cannot travel."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle

from .errors import PicklingError


def dumps(value: Any, what: str) -> bytes:
    """``value`` pickled by cloudpickle. Raises PicklingError that names ``what`` and the culprit in it."""
    try:
        return bytes(cloudpickle.dumps(value))
    except Exception as exc:
        culprit = _culprit(value, set())
        raise PicklingError(
            f"{what} cannot be pickled for the worker: {culprit or f'{type(exc).__name__}: {exc}'}. "
            "Create it inside the task instead, or move it into an importable module."
        ) from exc


def loads(data: bytes) -> Any:
    """What :func:`dumps` made, or what a worker sent over Ray; never bytes from a store."""
    return pickle.loads(data)


def _culprit(value: Any, seen: set[int]) -> str | None:
    """The innermost named part of ``value`` that cannot be pickled on its own."""
    if id(value) in seen:
        return None
    seen.add(id(value))
    for name, part in _parts(value):
        if not _travels(part):
            inner = _culprit(part, seen)
            return inner or f"{name} is a {type(part).__module__}.{type(part).__qualname__}"
    return None


def _travels(value: Any) -> bool:
    try:
        cloudpickle.dumps(value)
    except Exception:  # any failure is the answer asked for
        return False
    return True


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if inspect.isfunction(value):
        yield from _function_parts(value)
    elif inspect.ismethod(value):
        yield f"the method {value.__name__!r}", value.__func__
        yield f"the {type(value.__self__).__name__} of the method {value.__name__!r}", value.__self__
    elif isinstance(value, dict):
        yield from ((f"the entry {key!r}", part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"the item {index}", part) for index, part in enumerate(value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield f"the field {field.name!r} of {type(value).__name__}", getattr(value, field.name)
    elif hasattr(value, "__dict__") and not inspect.ismodule(value):
        yield from ((f"the attribute {key!r} of {type(value).__name__}", v) for key, v in vars(value).items())


def _function_parts(function: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    found = inspect.getclosurevars(function)
    name = function.__qualname__
    yield from (
        (f"the variable {key!r} that {name} closes over", part) for key, part in found.nonlocals.items()
    )
    yield from ((f"the global {key!r} that {name} uses", part) for key, part in found.globals.items())
