"""Paths of the driver's code in what a script has made: they lead to that code on another machine.

The script is not run again there, where ``ROOT = Path(__file__).parent`` would be another path. A `Path` is found
wherever it is in a task (`REDUCTIONS`). Texts that are absolute paths are found in the script's own globals, in
containers of these, in defaults and closed-over variables of its functions, and in attributes of its classes (`of`,
`moved`). A class that comes once more, with an argument or a config, has the attributes of home again: those are
moved then, too. Arguments, deps, outs and what a task returns are none of the script's: they stay as they are.
"""

from __future__ import annotations

import inspect
import operator
import os
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ...core.values.inherited import Variable
from ...job.process.inheritance import value_here
from ...project.environ import variable_of

_DEEPEST = 5
_KINDS = (str, type(Path()), PurePosixPath)
_CONTAINERS = (dict, list, tuple)
_MOST = 1000  # what has more items holds data


def of(namespace: Mapping[str, Any], code: Iterable[Any]) -> dict[str, Variable]:
    """The texts that are absolute paths in ``namespace``, and in ``code``, which are functions and classes."""
    found: dict[str, Variable] = {}

    def note(text: str) -> str:
        if text not in found and (variable := _path(text)) is not None:
            found[text] = variable
        return text

    _visit(dict(namespace), code, _Change(note))
    return found


def moved(namespace: dict[str, Any], code: Iterable[Any], paths: Mapping[str, Variable]) -> None:
    """Replace them, in both, by what they are on this machine."""
    here = {text: value for text, variable in paths.items() if (value := value_here(variable)) != text}
    if here:
        _visit(namespace, code, _Change(lambda text: here.get(text) or text))


def _path(text: str) -> Variable | None:
    if not text.startswith("/") or "\0" in text:
        return None
    variable = variable_of(text)
    return variable if variable.real is not None else None


@dataclass(frozen=True, slots=True)
class _Change:
    """Each text is replaced; the same object comes back where none of it is another one."""

    text: Callable[[str], str]

    def __call__(self, value: Any, depth: int = _DEEPEST) -> Any:
        if type(value) in _KINDS:
            text = os.fspath(value)
            return value if (new := self.text(text)) is text or new == text else type(value)(new)
        if depth == 0 or type(value) not in _CONTAINERS or len(value) > _MOST:
            return value
        if type(value) is tuple:
            parts = tuple(self(part, depth - 1) for part in value)
            return value if all(map(operator.is_, parts, value)) else parts
        for key, part in list(value.items() if type(value) is dict else enumerate(value)):
            if (new := self(part, depth - 1)) is not part:
                value[key] = new
        return value


def _visit(namespace: dict[str, Any], code: Iterable[Any], change: _Change) -> None:
    for name, value in list(namespace.items()):
        if not name.startswith("__"):
            namespace[name] = change(value)
    for each in code:
        if isinstance(each, type):
            _visit_class(each, change)
        elif isinstance(each, types.FunctionType):
            _visit_function(each, change)


def _visit_class(kind: type, change: _Change) -> None:
    for name, value in list(vars(kind).items()):
        if not (name.startswith("__") or inspect.isroutine(value)) and (new := change(value)) is not value:
            setattr(kind, name, new)


def _visit_function(function: types.FunctionType, change: _Change) -> None:
    if (defaults := change(function.__defaults__)) is not function.__defaults__:
        function.__defaults__ = defaults
    change(function.__kwdefaults__)
    for cell in function.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # an empty one
            continue
        if (new := change(value)) is not value:
            cell.cell_contents = new


def _reduce(path: PurePosixPath) -> Any:
    variable = _path(os.fspath(path))
    if variable is None or variable.value is None:
        return path.__reduce__()
    real = None if variable.real == variable.value else variable.real
    return _path_here, (type(path), variable.value, real)


def _path_here(kind: type[PurePosixPath], text: str, real: str | None) -> PurePosixPath:
    return kind(value_here(Variable(text, real or text)) or text)


REDUCTIONS: dict[type, Callable[[Any], Any]] = {type(Path()): _reduce, PurePosixPath: _reduce}
