"""Objects of the driver's script on a worker, so that `_target_: __main__.Model` finds its class there.

On a worker `__main__` is Ray's own program. What a config names of the driver's is pickled with the job
and stands in the worker's `__main__` while the job runs. Classes keep their identity: cloudpickle gives
one class to all pickles of it in a process.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

_NAMED = re.compile(r"^__main__\.(\w+)")


def named_in(node: Any) -> dict[str, Any]:
    """The objects of this process's `__main__` that strings in a plain container name, by name."""
    main = sys.modules["__main__"]
    return {name: getattr(main, name) for name in sorted(set(_names(node))) if hasattr(main, name)}


@contextlib.contextmanager
def installed(objects: Mapping[str, Any]) -> Iterator[None]:
    """``objects`` are attributes of this process's `__main__` for the time being."""
    main = sys.modules["__main__"]
    before = {name: getattr(main, name) for name in objects if hasattr(main, name)}
    for name, value in objects.items():
        setattr(main, name, value)
    try:
        yield
    finally:
        for name in objects:
            if name in before:
                setattr(main, name, before[name])
            elif hasattr(main, name):
                delattr(main, name)


def _names(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        match = _NAMED.match(node)
        if match:
            yield match.group(1)
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _names(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _names(value)
