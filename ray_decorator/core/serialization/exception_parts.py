"""What an exception consists of, and making one of that without its ``__init__``.

`exceptions` packs with it what a job has raised. What a value holds (a list of errors that a task returns) goes with
the value itself: what is one object stays one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from .reductions import reduced

IN_DICT = -1  # where an attribute is: in __dict__, or a descriptor of the class of this place in the MRO
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class made by a class statement


def reduce_in_a_value(error: BaseException, travels: Callable[[Any], bool]) -> tuple[Any, ...]:
    """For pickle: ``error`` with attributes, cause and context, the latter two where they can travel."""
    if (own := reduced(error)) is not None:
        return own
    group = error if isinstance(error, BaseExceptionGroup) else None
    made = type(error), group.message if group else "", list(group.exceptions) if group else []
    around = {name: getattr(error, name) for name in ("__cause__", "__context__")}
    state = (
        error.args,
        list(attributes_of(error)),
        {name: other if travels(other) else None for name, other in around.items()},
        error.__suppress_context__,
    )
    return blank, made, state, None, None, _restore


def _restore(error: BaseException, state: tuple[Any, ...]) -> None:
    args, attributes, around, suppress = state
    put(error, "args", args)
    for attribute in attributes:
        put_at(error, *attribute)
    for name, other in around.items():
        put(error, name, other)
    put(error, "__suppress_context__", suppress)


def attributes_of(error: BaseException) -> Iterator[tuple[int, str, Any]]:
    yield from ((IN_DICT, name, value) for name, value in vars(error).items())
    for place, kind in enumerate(type(error).__mro__):
        if kind in (BaseExceptionGroup, BaseException, object):
            continue
        for name, descriptor in vars(kind).items():
            # the object that lacks an attribute is no part of the error, and may be any size; Python's own
            # pickling leaves it out as well
            if (kind, name) == (AttributeError, "obj") or name in ("__dict__", "__weakref__"):
                continue
            if isinstance(descriptor, MemberDescriptorType | GetSetDescriptorType):
                try:
                    value = descriptor.__get__(error, type(error))
                except (AttributeError, TypeError):  # it was never set
                    continue
                # in C, what was never set is shown as None, and a None that is set is something else
                if value is not None or kind.__module__ != "builtins":
                    yield place, name, value


def put_at(error: BaseException, place: int, name: str, value: Any) -> None:
    if place == IN_DICT:
        vars(error)[name] = value
    else:
        vars(type(error).__mro__[place])[name].__set__(error, value)


def put(error: BaseException, name: str, value: Any) -> None:
    object.__setattr__(error, name, value)  # also where the class is a frozen dataclass


def blank(kind: type[BaseException], message: str, members: list[BaseException]) -> BaseException:
    """An exception that no ``__init__`` or ``__new__`` of a class statement has seen."""
    maker: Any = kind
    while maker.__flags__ & _HEAP_TYPE:
        maker = maker.__base__
    if issubclass(kind, BaseExceptionGroup):
        made: BaseException = BaseExceptionGroup.__new__(kind, message, members)
    else:
        made = maker.__new__(kind)
    return made
