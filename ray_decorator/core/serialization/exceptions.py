"""Exceptions as bytes, and back without their ``__init__``.

Python pickles an exception as its class and ``args``, and calls the class with these: that fails for an ``__init__``
of another signature, and gives a wrong message for one that makes its message from its arguments. So here an
exception is its class, ``args``, attributes (also those in slots and in C), cause, context, and the members of a
group, each pickled on its own. A class with a ``__reduce__`` of its own is left to that, where it works.

Each exception that is reached has a number, and pickles refer to it by that: what is one object stays one, and
cycles are no problem.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import JobError, text_of
from .exception_parts import IN_DICT, attributes_of, blank, put, put_at
from .pickling import Pickler
from .reductions import made_from, reduced

_MOST = 256  # exceptions that hang together; those beyond are left out
_SHOWN = 200  # characters of the repr of what was left out

_Attribute = tuple[int, str, bytes]


@dataclass(frozen=True, slots=True)
class _Packed:
    """One exception. ``kind`` is its class, empty where only the ``summary`` can travel.

    ``own`` is what its own ``__reduce__`` gave; ``attributes`` are then what that leaves out.
    """

    summary: str
    kind: bytes = b""
    own: bytes | None = None
    args: tuple[bytes, ...] = ()
    attributes: tuple[_Attribute, ...] = ()
    message: str = ""
    members: tuple[int, ...] = ()
    cause: int | None = None
    context: int | None = None
    suppress: bool = False
    left_out: tuple[str, ...] = ()


def pack(error: BaseException) -> bytes | None:
    """``error`` and all that hangs on it; None where its type cannot travel. Attributes that cannot are left out."""
    packing = _Packing()
    packing.number(error)
    packed = pickle.dumps([packing.packed(each) for each in packing.found])  # found grows meanwhile
    try:
        same = type(unpack(packed)) is type(error)
    except Exception:  # a class can do anything when it is made
        same = False
    return packed if same else None


def unpack(packed: bytes) -> BaseException:
    """What :func:`pack` was given. Raises what its class raises where that cannot be had in this process."""
    return _Unpacking(pickle.loads(packed)).all()


def summary_of(error: BaseException) -> str:
    """Type and message in one line, or in as many as the message has."""
    return f"{type(error).__name__}: {text_of(error)}"


class _Packing:
    def __init__(self) -> None:
        self.found: list[BaseException] = []
        self._numbers: dict[int, int] = {}

    def number(self, error: BaseException | None, most: int | None = _MOST) -> int | None:
        if error is None:
            return None
        if id(error) not in self._numbers and (most is None or len(self.found) < most):
            self._numbers[id(error)] = len(self.found)
            self.found.append(error)
        return self._numbers.get(id(error))

    def packed(self, error: BaseException) -> _Packed:
        try:
            return self._packed(error)
        except Exception:  # its class cannot be pickled, or one of its properties fails
            return _Packed(summary_of(error))

    def _packed(self, error: BaseException) -> _Packed:
        left_out: list[str] = []
        attributes = list(attributes_of(error))
        own, known = self._own(error)
        if own is not None:
            attributes = [each for each in attributes if each[0] == IN_DICT and each[1] not in known]
        group = error if isinstance(error, BaseExceptionGroup) else None
        members = [self.number(each, None) for each in group.exceptions] if group else []
        return _Packed(
            summary_of(error),
            self._checked(type(error)),
            own,
            tuple(self._argument(index, each, left_out) for index, each in enumerate(error.args)),
            tuple(self._all_that_travel(attributes, left_out)),
            group.message if group else "",
            tuple(each for each in members if each is not None),
            self.number(error.__cause__),
            self.number(error.__context__),
            error.__suppress_context__,
            tuple(left_out),
        )

    def _own(self, error: BaseException) -> tuple[bytes | None, frozenset[str]]:
        """What the class's own pickling gave, if it has one that works, and the attributes that come with it."""
        parts = reduced(error)
        if parts is None:
            return None, frozenset()
        try:
            own = self._checked(parts)
            again = made_from(self._loads(own))
            if type(again) is type(error) and text_of(again) == text_of(error):
                return own, frozenset(vars(again))
        except Exception:  # as good as none
            pass
        return None, frozenset()

    def _argument(self, index: int, value: Any, left_out: list[str]) -> bytes:
        try:
            return self._checked(value)
        except Exception:
            left_out.append(f"argument {index}: {_shown(value)}")
            return pickle.dumps(_shown(value))

    def _all_that_travel(
        self, attributes: Sequence[tuple[int, str, Any]], left_out: list[str]
    ) -> Iterator[_Attribute]:
        for place, name, value in attributes:
            try:
                yield place, name, self._checked(value)
            except Exception:
                left_out.append(f"attribute {name!r}: {_shown(value)}")

    def _checked(self, value: Any) -> bytes:
        buffer = io.BytesIO()
        _Pickler(buffer, self).dump(value)
        self._loads(buffer.getvalue())
        return buffer.getvalue()

    def _loads(self, data: bytes) -> Any:
        return _Unpickler(io.BytesIO(data), self.found.__getitem__).load()


class _Unpacking:
    def __init__(self, packed: Sequence[_Packed]) -> None:
        self._packed = packed
        self._made: dict[int, BaseException] = {}
        self._making: set[int] = set()

    def all(self) -> BaseException:
        """The first one, with all others where they belong."""
        for number, packed in enumerate(self._packed):
            error = self._get(number)
            put(error, "__cause__", None if packed.cause is None else self._get(packed.cause))
            put(error, "__context__", None if packed.context is None else self._get(packed.context))
            put(error, "__suppress_context__", packed.suppress)
        return self._made[0]

    def _get(self, number: int) -> BaseException:
        if number in self._made:
            return self._made[number]
        if number in self._making:
            raise pickle.UnpicklingError("an exception is made from itself")
        self._making.add(number)
        packed = self._packed[number]
        try:
            self._make(number, packed)
        except Exception:
            if number == 0:
                raise
            self._made[number] = JobError(packed.summary)
        return self._made[number]

    def _make(self, number: int, packed: _Packed) -> None:
        if not packed.kind:
            raise pickle.UnpicklingError("its class cannot be pickled")
        if packed.own is not None:
            made = made_from(self._loads(packed.own))
        else:
            made = blank(
                self._loads(packed.kind), packed.message, [self._get(each) for each in packed.members]
            )
        self._made[number] = made
        notes = [f"Left on the worker: {each}" for each in packed.left_out]
        if packed.own is None:
            put(made, "args", tuple(self._loads(each) for each in packed.args))
        for place, name, data in packed.attributes:
            try:
                put_at(made, place, name, self._loads(data))
            except Exception as exc:
                notes.append(f"Attribute {name!r} cannot be rebuilt here: {summary_of(exc)}")
        if notes:
            vars(made)["__notes__"] = [*getattr(made, "__notes__", ()), *notes]

    def _loads(self, data: bytes) -> Any:
        return _Unpickler(io.BytesIO(data), self._get).load()


class _Pickler(Pickler):
    def __init__(self, file: io.BytesIO, packing: _Packing) -> None:
        super().__init__(file)
        self._packing = packing

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, BaseException):
            return None
        number = self._packing.number(value)
        if number is None:
            raise pickle.PicklingError("too many exceptions hang together")
        return number


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, get: Any) -> None:
        super().__init__(file)
        self._get = get

    def persistent_load(self, pid: Any) -> BaseException:
        found: BaseException = self._get(pid)
        return found


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
