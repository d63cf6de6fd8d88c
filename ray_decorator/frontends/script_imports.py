"""What a script has imported, for code that asks for it by its name as text: ``eval(cfg.optimizer)``.

What functions name themselves comes with them. The rest is imported on the worker only where a function of the
script uses ``eval``, ``exec``, ``globals`` or ``sys.modules[__name__]``: imports take time, and few tasks need them.
"""

from __future__ import annotations

import contextlib
import dis
import importlib
import operator
import types
from collections.abc import Iterable, Mapping
from typing import Any

_ASKS = {"eval", "exec", "globals", "__main__"}
_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME"}
"""Not of attributes: ``model.eval()`` asks for nothing."""


def of(main: types.ModuleType, functions: Iterable[Any]) -> dict[str, str]:
    """Each name with its module, or ``module:name``. Empty where none of ``functions`` may ask for one."""
    codes = (getattr(each, "__code__", None) for each in functions)
    if not any(_asks(code) for code in codes if isinstance(code, types.CodeType)):
        return {}
    found = {name: _place(value) for name, value in list(vars(main).items()) if not name.startswith("__")}
    return {name: place for name, place in found.items() if place is not None}


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


def _place(value: Any) -> str | None:
    if isinstance(value, types.ModuleType):
        return value.__name__
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "<none>")
    if not callable(value) or not isinstance(module, str) or module == "__main__" or "<" in name:
        return None
    return f"{module}:{name}"
