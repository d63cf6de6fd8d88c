"""Pickling by value, with an error that names what in it cannot travel.

These things differ from cloudpickle. Code keeps its file's name, for tracebacks and for who reads its source.
Source that is in no file (a notebook's cell, say) goes along with its code: Python's `linecache` has it. A
function that its own decorator hides (`hydra.main`, `ray_decorator`) goes by reference where its module can be
imported, so that its globals are that module's. And the globals of functions of `__main__` become those of a module
(`module_of`), which can be `__main__` there. Caches and the like go by value (`by_value`),
a script's own locks are new ones there (`in_process`), its code that runs when a class is made does not run again
(`classes`), nor does an exception's ``__init__`` (`exception_parts`).
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import importlib.machinery
import inspect
import io
import linecache
import operator
import pickle
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import cloudpickle

from ..errors import PicklingError
from . import by_value, classes, exception_parts, in_process

Reductions = Mapping[type, Callable[[Any], Any]]

_MOST_LINKS = 64  # causes and contexts in one pickle, which nests them; those beyond are left out
_NAMELESS = "<dynamic-code>"  # what cloudpickle puts for the file's name


def dumps(value: Any, what: str, reductions: Reductions = MappingProxyType({})) -> bytes:
    """``value`` pickled by cloudpickle. Raises PicklingError that names ``what`` and the culprit in it.

    ``reductions`` say how objects of these very types are pickled, beside those of this module.
    """
    try:
        return pickled(value, reductions)
    except Exception as exc:
        culprit = _culprit(value, set())
        raise PicklingError(
            f"{what} cannot be pickled for the worker: {culprit or f'{type(exc).__name__}: {exc}'}. "
            "Create it inside the task instead, or move it into an importable module."
        ) from exc


def travels(value: Any, most: int | None = None) -> bool:
    """Whether ``value`` can be pickled, to at most so many bytes."""
    try:
        _dump(value, io.BytesIO() if most is None else _Limited(most))
    except Exception:  # any failure is the answer asked for
        return False
    return True


def loads(data: bytes) -> Any:
    """What :func:`dumps` made, or what a worker sent over Ray; never bytes from a store."""
    return pickle.loads(data)


def pickled(value: Any, reductions: Reductions = MappingProxyType({})) -> bytes:
    """As :func:`dumps`; raises what its parts raise."""
    buffer = io.BytesIO()
    _dump(value, buffer, reductions)
    return buffer.getvalue()


def _dump(value: Any, file: Any, reductions: Reductions = MappingProxyType({})) -> None:
    Pickler(file, reductions).dump(value)


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    kind, arguments, *rest = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    named = tuple(code.co_filename if part == _NAMELESS else part for part in arguments)
    # the very list, so that all code of one cell shares one copy of it in a pickle
    match linecache.cache.get(code.co_filename):
        case (_, None, [_, *_] as lines, _):
            return _with_source, (kind, named, code.co_filename, lines), *rest
    return kind, named, *rest


def _with_source(
    kind: Callable[..., types.CodeType], arguments: tuple[Any, ...], file: str, lines: list[str]
) -> types.CodeType:
    linecache.cache[file] = (sum(map(len, lines)), None, lines, file)
    return kind(*arguments)


class _Globals(dict[str, Any]):
    """For cloudpickle, the beginning of the globals that functions of `__main__` share there."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _globals_of_a_module, (dict(self),)


@dataclasses.dataclass(frozen=True, slots=True)
class _Loader:
    """Leads from a module's globals to the module, under a name that each module's globals have."""

    module: types.ModuleType


def _globals_of_a_module(names: dict[str, Any]) -> dict[str, Any]:
    module = types.ModuleType("__main__")
    vars(module).update(names, __loader__=_Loader(module))
    return vars(module)


def module_of(namespace: dict[str, Any]) -> types.ModuleType | None:
    """The module that has these globals, where functions of a `__main__` came with them."""
    loader = namespace.get("__loader__")
    return loader.module if isinstance(loader, _Loader) else None


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle's, with what is said above."""

    def __init__(self, file: Any, reductions: Reductions = MappingProxyType({})) -> None:
        # a dict: it is asked for each object, and cloudpickle's ChainMap takes a third of the time of a config;
        # before the start, which is when C looks for it
        table = cloudpickle.Pickler.dispatch_table
        self.dispatch_table = {
            **table,
            types.CodeType: _reduce_code,
            **by_value.REDUCTIONS,
            **in_process.REDUCTIONS,
            **reductions,
        }
        super().__init__(file)
        self._links_left = _MOST_LINKS
        # cloudpickle has no public name for it; without it, those globals are a plain dict
        if (main := sys.modules.get("__main__")) is not None and hasattr(self, "globals_ref"):
            self.globals_ref[id(vars(main))] = _Globals()

    def reducer_override(self, obj: Any) -> Any:
        """cloudpickle's hook, which has something to say of functions and classes alone."""
        if not isinstance(obj, (types.FunctionType, type, BaseException, enum.Enum)):
            return NotImplemented
        if isinstance(obj, enum.Enum):
            # by name: a value may be another one there, such as a path
            known = classes.is_named(obj) and self._is_by_value(type(obj))
            return (getattr, (type(obj), obj.name)) if known else NotImplemented
        if isinstance(obj, BaseException):
            return exception_parts.reduce_in_a_value(obj, self._goes_along)
        if isinstance(obj, types.FunctionType) and (place := _hidden_at(obj)) is not None:
            return _unhidden, place
        found = super().reducer_override(obj)
        return classes.quiet(found, obj, self._is_by_value) if isinstance(obj, type) else found

    def _goes_along(self, linked: BaseException | None) -> bool:
        """Whether the cause or context of an exception is pickled with it."""
        self._links_left -= linked is not None
        return self._links_left >= 0 and _travels_alone(linked)

    def _is_by_value(self, kind: type) -> bool:
        return super().reducer_override(kind) is not NotImplemented and kind.__module__ != "builtins"


class _Unlinked(Pickler):
    """Leaves causes and contexts out: each is looked at by itself.

    With all of its own, each would be looked at once more for each that leads to it, and for ever in a circle.
    """

    def _goes_along(self, linked: BaseException | None) -> bool:
        return False


def _travels_alone(error: BaseException | None) -> bool:
    try:
        _Unlinked(io.BytesIO()).dump(error)
    except Exception:  # any failure is the answer asked for
        return False
    return True


class _Limited(io.RawIOBase):
    """Takes so many bytes, and keeps none of them."""

    def __init__(self, most: int) -> None:
        self._left = most

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._left -= size
        if self._left < 0:
            raise OverflowError
        return size


def _hidden_at(function: types.FunctionType) -> tuple[str, str, int] | None:
    """Module, name, and below how many wrappers with a ``__wrapped__`` it is; None where it is not hidden."""
    name, path = function.__module__, function.__qualname__
    module = sys.modules.get(name or "")
    if module is None or name == "__main__" or "<" in path or module in _by_value():
        return None
    try:
        found = operator.attrgetter(path)(module)
    except AttributeError:
        return None
    depth = 0
    while found is not function and (found := getattr(found, "__wrapped__", None)) is not None:
        depth += 1
    return (name, path, depth) if found is function and depth and _is_importable(module) else None


def _is_importable(module: types.ModuleType) -> bool:
    """Whether its name leads to its file by sys.path alone, which workers have too; hooks they have not."""
    parent = module.__name__.rpartition(".")[0]
    path = getattr(sys.modules.get(parent), "__path__", None) if parent else None
    found = importlib.machinery.PathFinder.find_spec(module.__name__, path)
    return found is not None and found.origin == getattr(module, "__file__", None)


def _by_value() -> list[types.ModuleType]:
    names = cloudpickle.cloudpickle.list_registry_pickle_by_value()
    return [sys.modules[name] for name in names if name in sys.modules]


def _unhidden(module: str, path: str, depth: int) -> Any:
    found = operator.attrgetter(path)(importlib.import_module(module))
    for _ in range(depth):
        found = found.__wrapped__
    return found


def _culprit(value: Any, seen: set[int]) -> str | None:
    """The innermost named part of ``value`` that cannot be pickled on its own."""
    if id(value) in seen:
        return None
    seen.add(id(value))
    for name, part in _parts(value):
        if not travels(part):
            inner = _culprit(part, seen)
            return inner or f"{name} is a {type(part).__module__}.{type(part).__qualname__}"
    return None


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
