"""Defaults of Python's library, and of numpy's, that a script has set for its process: those go along with its tasks.

    decimal     the context: precision, rounding, traps
    locale      its categories but LC_CTYPE, which Python sets at its start
    socket      the default time-out
    gc          the thresholds, and whether it is on
    sys         the switch interval
    numpy       what it does on errors, and how it prints; where the task has it

What other libraries keep for a process is for the task to set.
"""

from __future__ import annotations

import contextlib
import decimal
import gc
import importlib
import locale
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...core.serialization import pickling

_CATEGORIES = ("LC_COLLATE", "LC_MONETARY", "LC_NUMERIC", "LC_TIME", "LC_MESSAGES")  # Windows has no last one


@dataclass(frozen=True, slots=True)
class _Default:
    """``module`` is what has to be imported already, on both sides."""

    module: str
    get: Callable[[], Any]
    put: Callable[[Any], object]


def _locales() -> dict[str, str]:
    return {name: locale.setlocale(getattr(locale, name)) for name in _CATEGORIES if hasattr(locale, name)}


def _put_locales(found: Mapping[str, str]) -> None:
    for name, value in found.items():
        with contextlib.suppress(locale.Error):  # a node may lack it: jobs run in its own then
            locale.setlocale(getattr(locale, name), value)


def _collects(is_on: bool) -> None:
    (gc.enable if is_on else gc.disable)()


def _numpy() -> Any:
    return importlib.import_module("numpy")


_DEFAULTS = {
    "decimal": _Default("decimal", decimal.getcontext, decimal.setcontext),
    "locale": _Default("locale", _locales, _put_locales),
    "socket": _Default("socket", socket.getdefaulttimeout, socket.setdefaulttimeout),
    "gc's thresholds": _Default("gc", gc.get_threshold, lambda found: gc.set_threshold(*found)),
    "gc": _Default("gc", gc.isenabled, _collects),
    "sys": _Default("sys", sys.getswitchinterval, sys.setswitchinterval),
    "numpy's errors": _Default("numpy", lambda: _numpy().geterr(), lambda found: _numpy().seterr(**found)),
    "numpy's printing": _Default(
        "numpy",
        lambda: _numpy().get_printoptions(),
        lambda found: _numpy().set_printoptions(**found),
    ),
}


def captured() -> dict[str, Any]:
    """This process's; without what cannot be pickled, as a function of its own that prints arrays."""
    found = {name: default.get() for name, default in _DEFAULTS.items() if default.module in sys.modules}
    if pickling.travels(found):
        return found
    return {name: value for name, value in found.items() if pickling.travels(value)}


@contextlib.contextmanager
def installed(defaults: Mapping[str, Any]) -> Iterator[None]:
    """They are this process's for the time being."""
    here = {name: _DEFAULTS[name] for name in defaults if _DEFAULTS[name].module in sys.modules}
    before = {name: default.get() for name, default in here.items()}
    try:
        for name, default in here.items():
            default.put(defaults[name])
        yield
    finally:
        for name, default in here.items():
            default.put(before[name])
