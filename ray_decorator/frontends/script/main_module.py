"""The driver's `__main__` on a worker, where `__main__` is another program.

Its functions, classes and plain values travel by value, in one pickle with the task (and so as one: a class is the
same class wherever a job meets it). Their globals are those of a module that is `__main__` while the job runs. So
`_target_: __main__.Model`, `globals()[name]`, pickles of a script's own classes and functions, and multiprocessing
work as at home. The script itself is not run again: it need not guard its last line. What is a path of the driver's
code in them (`ROOT = Path(__file__).parent`) leads to that code on the worker, as its variables do: see `paths`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import importlib.util
import inspect
import linecache
import logging
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.serialization import pickling
from ...core.values.inherited import Variable
from ...job.process import workplace
from . import imports as script_imports
from . import paths as script_paths
from . import settings as script_settings

# multiprocessing runs the script by the second name in processes that it spawns: what they send back comes from there
_NAMES = ("__main__", "__mp_main__")
_KEPT = (types.FunctionType, types.ModuleType, type, logging.Logger)  # finalizers use them
_CODE = (types.FunctionType, type, functools._lru_cache_wrapper, typing.NewType)
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_CONTAINERS = (dict, list, tuple, set, frozenset)
_MOST = 1024 * 1024  # bytes; what is larger holds data, which only the task itself may ask for


@dataclass(frozen=True, slots=True)
class Main:
    """The driver's `__main__`: its own code and plain data, its file, and its name under ``python -m``.

    ``imports`` are what it has imported, where its code may ask for that by its name as text. ``paths`` are its
    texts that are absolute paths.
    """

    objects: Mapping[str, Any] = field(repr=False)
    imports: Mapping[str, str] = field(repr=False)
    file: str | None
    module: str | None
    settings: script_settings.Settings = field(repr=False)
    paths: Mapping[str, Variable] = field(repr=False, default_factory=dict)


def dumps(task: Callable[[Main], Any], what: str) -> bytes:
    """The task that ``task`` makes with this process's `__main__`, in one pickle with it.

    Without what of the script cannot be pickled or holds large data. Raises PicklingError, which names ``what``.
    """
    try:
        # most scripts have nothing of that kind
        data = pickling.pickled(task(captured(sure=False)), script_paths.REDUCTIONS)
        if len(data) <= _MOST:
            return data
    except Exception:  # it is found out below what it was
        pass
    return pickling.dumps(task(captured()), what, script_paths.REDUCTIONS)


def captured(*, sure: bool = True) -> Main:
    """This process's `__main__`, with what it has set up, without what cannot be pickled or holds large data.

    Not ``sure``: it may hold such things still.
    """
    main = sys.modules["__main__"]
    file, spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    objects = _own_objects(main)
    if sure and not pickling.travels(objects, _MOST):
        objects = {name: value for name, value in objects.items() if pickling.travels(value, _MOST)}
    functions = list(_functions(objects.values()))
    return Main(
        objects,
        script_imports.of(main, functions),
        os.path.abspath(file) if file else None,
        spec.name if spec else None,
        script_settings.captured(),
        script_paths.of(vars(main), functions),
    )


@contextlib.contextmanager
def installed(main: Main, function: Callable[..., Any]) -> Iterator[None]:
    """``main`` is this process's `__main__` for the time being. It came in one pickle with ``function``."""
    before = {name: sys.modules.get(name) for name in _NAMES}
    sys.modules |= dict.fromkeys(_NAMES, _stand_in(main, function))
    try:
        with script_settings.installed(main.settings):
            yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def settle(main: Main, function: Callable[..., Any]) -> None:
    """Its classes are as `installed` has made them, though other pickles have brought them since.

    A class that comes to a process again is the same class, with the attributes that it has in that pickle.
    """
    script_paths.moved({}, _functions((function, *main.objects.values())), main.paths)


def forget(main: Main, function: Callable[..., Any]) -> None:
    """Let go of what the script keeps in its globals, as Python does when a program ends.

    Files that are open there are written then, and finalizers (``__del__``) run. Not while a thread is left that runs
    the script's code.
    """
    namespace = _namespace(main, function)
    if any(_runs(frame, namespace) for frame in sys._current_frames().values()):
        return
    for name, value in list(namespace.items()):
        if not name.startswith("__") and not isinstance(value, _KEPT):
            del namespace[name]


def _runs(frame: types.FrameType | None, namespace: Mapping[str, Any]) -> bool:
    while frame is not None:
        if frame.f_globals is namespace:
            return True
        frame = frame.f_back
    return False


def _own_objects(main: types.ModuleType) -> dict[str, Any]:
    """What the script has made: its code, and data that needs nobody's modules to be read.

    Of a notebook or a shell the code alone: their cells and outputs are data, too.
    """
    is_script = getattr(main, "__file__", None) is not None
    names = {name: value for name, value in list(vars(main).items()) if not name.startswith("__")}
    found = {
        name: value
        for name, value in names.items()
        if _is_own_code(value) or (is_script and _is_plain(value, depth=5))
    }
    for name in script_imports.annotated(_functions(found.values())):  # type variables, other names for types
        if name in names and script_imports.place_of(names[name]) is None:
            found[name] = names[name]
    return found


def _is_own_code(value: Any) -> bool:
    return isinstance(value, _CODE) and value.__module__ == "__main__"


def _functions(objects: Iterable[Any]) -> Iterator[Any]:
    """Functions, methods, classes, and what else may have globals, code or annotations."""
    for each in objects:
        if isinstance(each, type):
            yield each
            for part in vars(each).values():
                yield getattr(part, "fget", None) or getattr(part, "__func__", part)
        else:
            yield inspect.unwrap(each)


def _is_plain(value: Any, depth: int) -> bool:
    if type(value) not in _CONTAINERS:
        return type(value) in _PLAIN
    if depth == 0 or sys.getsizeof(value) > _MOST:
        return False
    parts = (*value.keys(), *value.values()) if type(value) is dict else value
    return all(_is_plain(part, depth - 1) for part in parts)


def _stand_in(main: Main, function: Callable[..., Any]) -> types.ModuleType:
    namespace = _namespace(main, function)
    module = pickling.module_of(namespace) or types.ModuleType("__main__")
    file = _file_here(main)
    if file is None:
        namespace.pop("__file__", None)
    else:
        namespace["__file__"] = file
    vars(module).update(
        {**script_imports.imported(main.imports), **main.objects, **namespace, "__name__": "__main__"}
    )
    script_paths.moved(vars(module), _functions((function, *main.objects.values())), main.paths)
    if main.module is not None and _is_found(main.module):
        module.__spec__ = importlib.machinery.ModuleSpec(main.module, None, origin=file)
    return module


def _namespace(main: Main, function: Callable[..., Any]) -> dict[str, Any]:
    """The globals of all functions that came in one pickle: what any of them names."""
    for each in _functions((function, *main.objects.values())):
        found = getattr(each, "__globals__", None)
        if isinstance(found, dict) and found.get("__name__") == "__main__":
            return found
    return {}


def _file_here(main: Main) -> str | None:
    """The script on this machine. Where it lies elsewhere than at home, tracebacks still find its lines."""
    here = workplace.main_script() or main.file
    if here is None or not os.path.isfile(here):
        return None
    if main.file is not None and here != main.file and main.file not in linecache.cache:
        text = Path(here).read_text(encoding="utf-8", errors="replace")
        linecache.cache[main.file] = (len(text), None, text.splitlines(keepends=True), main.file)
    return here


def _is_found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
