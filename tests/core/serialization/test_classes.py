"""A script's classes are the same in another process, and what runs when a class is made does not run again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ray_decorator.core.serialization import classes, pickling

SCRIPT = """
import abc, dataclasses, enum, functools, sys
from typing import NamedTuple
from library import Listed, Named
from ray_decorator.core.serialization import pickling

class Base:
    known, order = {}, []

    def __init_subclass__(cls, /, key, **others):
        super().__init_subclass__(**others)
        Base.known[key] = cls
        Base.order.append(key)

class First(Base, key="first"):
    pass

class Second(First, key="second"):
    pass

class Meta(abc.ABCMeta):
    made = []

    def __new__(meta, name, bases, content, *, tag):
        made = super().__new__(meta, name, bases, content)
        made.tag = tag
        Meta.made.append(name)
        return made

    def __init__(cls, name, bases, content, *, tag):
        super().__init__(name, bases, content)

class Tagged(metaclass=Meta, tag=1):
    @abc.abstractmethod
    def method(self): ...

class Own(Named, name="own"):
    pass

class InList(Listed):
    pass

class Planet(enum.Enum):
    EARTH = (5.9, 6.3)
    GLOBE = (5.9, 6.3)
    MARS = (0.6, 3.3)

    def __init__(self, mass, radius):
        self.mass = mass

class Coordinate(bytes, enum.Enum):
    def __new__(cls, value, label):
        made = bytes.__new__(cls, [value])
        made._value_, made.label = value, label
        return made

    X = (7, "x of it")

class Upper(enum.Enum):
    def __new__(cls, text):
        made = object.__new__(cls)
        made._value_ = text.upper()
        return made

    LOW = "low"

class Pair(tuple, enum.Enum):
    def __new__(cls, parts):
        made = tuple.__new__(cls, parts)
        made._value_ = len(parts)
        return made

    ONE = (1, 2)

@dataclasses.dataclass(frozen=True)
class Size:
    width: int
    height: int = 2

class Sizes(Size, enum.Enum):
    SMALL = (3,)

class Mode(enum.IntFlag, boundary=enum.KEEP):
    READ, WRITE, BOTH = 1, 2, 3

class Text(enum.StrEnum):
    LEFT = enum.auto()

    @classmethod
    def _missing_(cls, value):
        return cls.LEFT

class Outer:
    class Inner:
        class Deep(Base, key="deep"):
            pass

class Slotted:
    __slots__ = ("field", "__private")

    def __init__(self):
        self.field, self.__private = 1, 2

    def values(self):
        return self.field, self.__private

@dataclasses.dataclass(slots=True)
class SlottedData:
    field: int = 3

class Fields(NamedTuple):
    field: int = 4

    class Inside(NamedTuple):
        other: int = 5

class Both(Slotted):
    __slots__ = "more"

def holds_more(*kinds):
    return [hasattr(kind(), "__dict__") for kind in kinds]

def local():
    class Local:
        pass
    return Local

Local = local()

def task():
    try:
        Tagged()
    except TypeError:
        abstract = True
    return {
        "hook": [sorted(Base.known), Base.known["second"] is Second, Base.order],
        "metaclass": [Tagged.tag, Meta.made, abstract, type(Tagged) is Meta],
        "a library's": [Own.__mro__[1].__name__, InList in Listed.all, [each.__name__ for each in Listed.all]],
        "enum": [Planet.MARS.mass, Planet.GLOBE is Planet.EARTH, len(Planet), Planet((0.6, 3.3)).name],
        "made by itself": [Coordinate(7)[0], Coordinate.X.label, Upper("LOW").name, Pair(2)[1]],
        "of a dataclass": [Sizes.SMALL.width, Sizes.SMALL.height, dataclasses.asdict(Sizes.SMALL)],
        "flags": [Mode.READ | Mode.WRITE is Mode.BOTH, int(Mode(8)), Text("?"), f"{Text.LEFT}"],
        "inside of others": [each.__qualname__ for each in (Outer.Inner, Outer.Inner.Deep, Local, First)],
        "slots": [holds_more(Slotted, SlottedData, Both, First), Both().values(), SlottedData.__slots__],
        "named tuples": [Fields(), Fields.Inside(), Fields.Inside.__qualname__],
        "left alone": ["__init__" in vars(Text), "__init__" in vars(Planet)],
    }

if len(sys.argv) > 1:
    import json
    print(json.dumps(task()))
else:
    sys.stdout.buffer.write(pickling.pickled(task))
"""
LIBRARY = """
class Named:
    def __init_subclass__(cls, *, name):
        cls.name = name

class Listed:
    all = []

    def __init_subclass__(cls):
        Listed.all.append(cls)
"""
THERE = "import json, pickle, sys; print(json.dumps(pickle.load(sys.stdin.buffer)()))"


def python(*arguments: str, folder: Path, given: bytes = b"") -> bytes:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, input=given, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_they_are_there_as_at_home(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "library.py").write_text(LIBRARY)
    at_home = json.loads(python("script.py", "here", folder=tmp_path))
    assert at_home["hook"] == [["deep", "first", "second"], True, ["first", "second", "deep"]]
    assert at_home["inside of others"][:2] == ["Outer.Inner", "Outer.Inner.Deep"]
    assert at_home["slots"] == [[False, False, False, True], [1, 2], ["field"]]
    assert at_home["a library's"] == ["Named", True, ["InList"]]
    sent = python("script.py", folder=tmp_path)
    assert json.loads(python("-c", THERE, folder=tmp_path, given=sent)) == at_home


def test_a_hook_of_a_library_that_raises_something_else_is_heard() -> None:
    class Strict:
        def __init_subclass__(cls) -> None:
            if not hasattr(cls, "field"):
                raise ValueError("no field")

    with pytest.raises(ValueError, match="no field"):
        classes._made(type, type, False, "Sub", (Strict,), {})
    assert classes._made(type, type, True, "Sub", (Strict,), {}).__mro__[1] is Strict
    with pytest.raises(ValueError, match="no field"):
        type("Later", (Strict,), {})


def test_what_is_by_reference_or_not_as_cloudpickles_is_left_alone() -> None:
    assert pickling.loads(pickling.pickled(json.JSONEncoder)) is json.JSONEncoder
    for kind in (Path, pytest.ExitCode):
        for reduced in (NotImplemented, "a name", (len, (1, 2))):
            assert classes.quiet(reduced, kind, lambda _: True) == reduced
