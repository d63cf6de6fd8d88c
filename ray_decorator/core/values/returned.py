"""What a task returned, as JSON holds it: nothing that comes from a store is ever unpickled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

Status = Literal["COMPLETED", "FAILED"]

_MOST = 512 * 1024
_MOST_VALUES = _MOST // 2  # each is a character of JSON at least, and one that parts it from the next
_NOT: Any = object()


class _TooManyError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Value:
    """A task's return value, as far as JSON holds it: ``why`` says what does not let it, "" where it does."""

    json: Any = None
    is_tuple: bool = False
    why: str = ""

    def held(self) -> Any:
        """The return value itself."""
        return tuple(self.json) if self.is_tuple else self.json


@dataclass(frozen=True, slots=True)
class Told:
    """How a job's task ended, in words: ``error`` and ``traceback`` are those of a FAILED one."""

    status: Status
    value: Value
    error: str = ""
    traceback: str = ""


def value_of(value: Any) -> Value:
    """A return value as a record holds it: None, booleans, numbers, text, and lists and dicts of these.

    A tuple of such values is held, too. A number of NumPy's that is a float becomes one.
    """
    is_tuple = type(value) is tuple
    try:
        plain = _plain(list(value) if is_tuple else value, count())
        if plain is _NOT:
            return Value(why=f"JSON cannot hold what the task returned: {_culprit(value)}")
        length = len(json.dumps(plain))
    except _TooManyError:
        return Value(why=f"what the task returned is too long for a receipt: more than {_MOST_VALUES} values")
    except RecursionError:
        return Value(why="JSON cannot hold what the task returned: it is nested without end")
    except ValueError as exc:  # a number of too many digits
        return Value(why=f"JSON cannot hold what the task returned: {exc}")
    if length > _MOST:
        return Value(why=f"what the task returned is too long for a receipt: {length} characters of JSON")
    return Value(plain, is_tuple)


def _plain(value: Any, seen: count[int]) -> Any:
    """The value of JSON's own types; `_NOT` where it is not of them, so that it would come back as another one.

    ``seen`` counts the values.
    """
    if next(seen) > _MOST_VALUES:
        raise _TooManyError
    if value is None or type(value) in (bool, int, str, float):
        return value
    if isinstance(value, float):
        return float(value)
    if type(value) is list:
        parts = [_plain(part, seen) for part in value]
        return _NOT if any(part is _NOT for part in parts) else parts
    if type(value) is dict and all(type(key) is str for key in value):
        pairs = {key: _plain(part, seen) for key, part in value.items()}
        return _NOT if any(part is _NOT for part in pairs.values()) else pairs
    return _NOT


def _culprit(value: Any) -> str:
    """What JSON cannot hold, in words."""
    if type(value) is dict:
        for key, part in value.items():
            if type(key) is not str:
                return f"the key {key!r:.40} is a {type(key).__name__}"
            if _plain(part, count()) is _NOT:
                return _culprit(part)
    for part in value if type(value) in (list, tuple) else ():
        if _plain(part, count()) is _NOT:
            return _culprit(part)
    return f"a {type(value).__module__}.{type(value).__qualname__}"
