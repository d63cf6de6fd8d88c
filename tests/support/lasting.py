"""What is expensive to start is shared by tests that follow one another; it ends when the next test needs it not.

A fixture of the session would live to its end, and five Rays that are idle cost a fifth of a machine with
two cores.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, ExitStack
from typing import Any

_running: dict[str, tuple[ExitStack, Any]] = {}


def get(name: str, make: Callable[[], AbstractContextManager[Any]]) -> Any:
    """What ``make`` gives, of this name; started by the first that asks. The name is that of a fixture."""
    if name not in _running:
        stack = ExitStack()
        _running[name] = stack, stack.enter_context(make())
    return _running[name][1]


def end_all_but(wanted: Collection[str]) -> None:
    """End those whose names are not among these."""
    for name in [name for name in _running if name not in wanted]:
        end(name)


def end(name: str) -> None:
    """End it, if it runs, since a test has broken it: who asks next gets another one."""
    if name in _running:
        stack, _ = _running.pop(name)
        stack.close()
