"""Classes of a script are made anew without the script's own code that runs when a class is made.

cloudpickle makes a class with nothing in it, and fills it later. Making it calls ``__init_subclass__`` of its bases
and ``__new__`` and ``__init__`` of its metaclass once more, without the keywords that the script gave: a registry has
each class twice, and who asks for a keyword raises a TypeError. What they did at home came with the class. So they
are passed over, where the script has made them; those of libraries are called, and passed over where they raise.

That class of nothing has what only who makes it can give it: its place inside of others (``Outer.Inner``), by which
pickle and ``inspect.getsource`` look for it, and its slots.

An enum it makes from the values of its members: what ``__init__`` and ``__new__`` gave these, and other names for one
value, come with it here.

A class that comes back to the process that has made it is that class, and stays as it is: a job's copy has other
paths in it.
"""

from __future__ import annotations

import abc
import contextlib
import enum
import functools
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

_HOOK = "__init_subclass__"


def quiet(reduced: Any, kind: type, is_by_value: Callable[[type], bool]) -> Any:
    """How ``kind`` is pickled, from how cloudpickle does it, which gives the metaclass first."""
    if issubclass(kind, enum.Enum):
        return _filled_where_new(_enum(reduced, kind), kind)
    reduced = _filled_where_new(reduced, kind)
    hooks = [base for base in kind.__mro__[1:-1] if _HOOK in vars(base)]
    if not (isinstance(reduced, tuple) and len(reduced) > 1 and reduced[1][:1] == (type(kind),)):
        return reduced  # by reference, or another cloudpickle
    maker = next(meta for meta in type(kind).__mro__ if not is_by_value(meta))
    reduced = reduced[0], _as_written(reduced[1], kind, maker), *reduced[2:]
    if maker is type(kind) and not hooks:
        return reduced
    is_scripts = maker is not type(kind) or any(map(is_by_value, hooks))
    made = functools.partial(_made, type(kind), maker, is_scripts)
    return reduced[0], (made, *reduced[1][1:]), *reduced[2:]


def is_named(member: enum.Enum) -> bool:
    """Whether the enum says nothing of its own on how members are pickled, and this one has a name."""
    kind = type(member)
    is_plain = kind.__reduce_ex__ is enum.Enum.__reduce_ex__ and "__reduce__" not in vars(kind)
    return is_plain and kind.__members__.get(member.name) is member


def _filled_where_new(reduced: Any, kind: type) -> Any:
    if not (isinstance(reduced, tuple) and len(reduced) == 6 and callable(reduced[5])):
        return reduced  # by reference, or another cloudpickle
    if id(kind) not in _come:
        _note(kind, _own)
    return *reduced[:5], functools.partial(_fill, reduced[5])


def _fill(how: Callable[[type, Any], Any], kind: type, state: Any) -> None:
    if id(kind) not in _own:
        _note(kind, _come)
        how(kind, state)


# by identity: a metaclass may compare in ways of its own
_own: set[int] = set()
"""The classes of this process that have left it."""
_come: set[int] = set()
"""Those that came from another one."""


def _note(kind: type, known: set[int]) -> None:
    if id(kind) not in known:
        known.add(id(kind))
        weakref.finalize(kind, known.discard, id(kind)).atexit = False


def _as_written(arguments: tuple[Any, ...], kind: type, maker: type) -> tuple[Any, ...]:
    given: dict[str, Any] = {}
    if kind.__qualname__ != kind.__name__:
        given["__qualname__"] = kind.__qualname__
    slots = vars(kind).get("__slots__")
    is_plain = maker in (type, abc.ABCMeta) and not issubclass(kind, tuple)  # others see to slots themselves
    if is_plain and isinstance(slots, _REREADABLE) and "__dict__" not in vars(kind):
        given["__slots__"] = slots
    if not given or not isinstance(arguments[3:] and arguments[3], dict):
        return arguments
    return *arguments[:3], {**arguments[3], **given}, *arguments[4:]


_REREADABLE = (str, tuple, list, set, frozenset, dict)  # an iterator has been read


def _enum(reduced: Any, kind: type[enum.Enum]) -> Any:
    if not (
        isinstance(reduced, tuple)
        and len(reduced) == 6
        and len(reduced[1]) > 3
        and reduced[1][1] == kind.__name__
    ):
        return reduced
    make, (bases, name, qualname, _, *rest), state, items, pairs, fill = reduced
    values: dict[str, Any] = {name: member.value for name, member in kind.__members__.items()}
    attributes = {name: vars(member) for name, member in kind.__members__.items()}
    if isinstance(getattr(kind, "__new_member__", None), types.FunctionType) or _is_of_python(kind):
        made = {name: (member.value, _data(member)) for name, member in kind.__members__.items()}
        values = {"__new__": _new_member, "__init__": _nothing, **made}
    content = {key: value for key, value in state[0].items() if key not in kind.__members__}
    filled = functools.partial(_filled, fill)
    return (
        make,
        (bases, name, qualname, values, *rest),
        ((content, state[1]), attributes),
        items,
        pairs,
        filled,
    )


def _is_of_python(kind: type[enum.Enum]) -> bool:
    """Whether members are of another class, too, as a dataclass, whose fields their values were given to."""
    makers: list[Any] = [base.__new__ for base in kind.__mro__[:-1]]
    return object.__new__ in makers


_PLAIN: dict[type, Callable[[Any], Any]] = {
    bytes: lambda member: bytes.__getitem__(member, slice(None)),
    float: float.__float__,
    int: int.__int__,
    str: str.__str__,
    tuple: lambda member: tuple.__getitem__(member, slice(None)),
}


def _data(member: Any) -> tuple[Any, ...]:
    """For one that is a number or text as well: the type, and what it holds of that."""
    return next(((kind, plain(member)) for kind, plain in _PLAIN.items() if isinstance(member, kind)), ())


def _new_member(kind: type, *given: Any) -> Any:
    value, data = given if len(given) == 2 else given[0]
    made = data[0].__new__(kind, data[1]) if data else object.__new__(kind)
    made._value_ = value
    return made


def _filled(
    fill: Callable[..., Any], kind: type[enum.Enum], state: tuple[Any, dict[str, dict[str, Any]]]
) -> None:
    fill(kind, state[0])
    if vars(kind).get("__init__") is _nothing:
        del kind.__init__
    for name, attributes in state[1].items():
        vars(kind.__members__[name]).update(attributes)


def _made(
    meta: Any, maker: Any, is_scripts: bool, name: str, bases: tuple[type, ...], namespace: dict[str, Any]
) -> Any:
    if not is_scripts:
        with contextlib.suppress(TypeError):
            return meta(name, bases, namespace)
    with _without_hooks(bases):
        return maker.__new__(meta, name, bases, namespace)


@contextlib.contextmanager
def _without_hooks(bases: tuple[type, ...]) -> Iterator[None]:
    found = {base: vars(base)[_HOOK] for each in bases for base in each.__mro__[:-1] if _HOOK in vars(base)}
    ours = [base for base in found if base.__flags__ & _HEAP]
    try:
        for base in ours:
            type.__setattr__(base, _HOOK, classmethod(_nothing))
        yield
    finally:
        for base in ours:
            type.__setattr__(base, _HOOK, found[base])


_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE of CPython's object.h: others cannot be changed


def _nothing(_: Any, /, *__: Any, **___: Any) -> None:
    pass
