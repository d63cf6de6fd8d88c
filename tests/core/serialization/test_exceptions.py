"""Exceptions as bytes: each comes back as it was raised, whatever its class does in ``__init__``."""

from __future__ import annotations

import dataclasses
import http.client
import inspect
import json
import os
import pickle
import subprocess
import threading
from typing import Any

import cloudpickle
import pydantic
import pytest
import requests

from ray_decorator.core.errors import JobError
from ray_decorator.core.serialization import exceptions as module
from ray_decorator.core.serialization.exceptions import pack, unpack


class NoArguments(Exception):
    def __init__(self) -> None:
        super().__init__("always the same")


class Required(Exception):
    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


class KeywordOnly(ValueError):
    def __init__(self, *, field: str) -> None:
        super().__init__()
        self.field = field

    def __str__(self) -> str:
        return f"field {self.field}"


class Doubling(Exception):
    """What Python's own pickling gives a wrong message: ``__init__`` would be called with the finished one."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no {name} here")


class Slots(Exception):
    __slots__ = ("__private", "row", "unset")

    def __init__(self, row: int) -> None:
        self.row = row
        self.__private = row + 1

    def __str__(self) -> str:
        return f"row {self.row} {self.__private}"


class Hidden(OSError):
    filename = property(lambda self: "its own")  # type: ignore[assignment]


class OwnNew(Exception):
    def __new__(cls, *, size: int) -> OwnNew:
        made = super().__new__(cls, f"size {size}")
        made.size = size  # type: ignore[attr-defined]
        return made

    def __init__(self, *, size: int) -> None: ...


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    x: int
    y: str


class Mixed(KeyError, AttributeError):
    pass


class OwnReduce(Exception):
    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} is not {right}")
        self.sides = (left, right)

    def __reduce__(self) -> Any:
        return OwnReduce, self.sides


class BadReduce(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("no pickles")


class Wrapping(OwnReduce):
    """Its parent's pickling would make it a parent."""


class Group(ExceptionGroup[Exception]):
    def __new__(cls, message: str, members: list[Exception], code: int) -> Group:
        made = super().__new__(cls, message, members)
        made.code = code  # type: ignore[attr-defined]
        return made


def os_error() -> OSError:
    try:
        os.stat("/no/such/file")
    except OSError as exc:
        return exc
    raise AssertionError


def caught(exc: BaseException) -> BaseException:
    try:
        raise exc
    except BaseException as met:
        return met


def attribute_error() -> AttributeError:
    try:
        object().gone  # type: ignore[attr-defined]  # noqa: B018
    except AttributeError as exc:
        return exc
    raise AssertionError


def syntax_error() -> SyntaxError:
    try:
        compile("a b", "here.py", "exec")
    except SyntaxError as exc:
        return exc
    raise AssertionError


def unicode_error() -> UnicodeDecodeError:
    try:
        b"\xff".decode()
    except UnicodeDecodeError as exc:
        return exc
    raise AssertionError


def json_error() -> json.JSONDecodeError:
    try:
        json.loads("{]")
    except json.JSONDecodeError as exc:
        return exc
    raise AssertionError


def local() -> Exception:
    class Local(Required):
        pass

    return Local(7, "of a function")


ALL = [
    KeyError("gone"),
    NoArguments(),
    Required(3, "x"),
    KeywordOnly(field="f"),
    Doubling("cat"),
    Slots(4),
    Hidden(2, "x", "hidden"),
    OwnNew(size=5),
    Frozen(1, "y"),
    Mixed("m"),
    OwnReduce(1, 2),
    BadReduce("b"),
    Wrapping(1, 2),
    os_error(),
    PermissionError(13, "denied", "a", None, "b"),
    BlockingIOError(11, "later", 5),
    attribute_error(),
    syntax_error(),
    unicode_error(),
    json_error(),
    local(),
    ImportError("no", name="n", path="p"),
    NameError("no", name="n"),
    StopIteration(4),
    SystemExit(3),
    KeyboardInterrupt(),
    subprocess.CalledProcessError(2, ["ls"], output=b"o", stderr=b"e"),
    subprocess.CalledProcessError(returncode=-9, cmd="x"),
    subprocess.TimeoutExpired("x", 3.0, output="o"),
    http.client.IncompleteRead(b"abc", 10),
    requests.ConnectionError("refused", request=requests.Request("GET", "http://x/").prepare()),
]


def fields(error: BaseException) -> dict[str, Any]:
    names = {name for kind in type(error).__mro__ for name in vars(kind) if not name.startswith("__")}
    found = {name: getattr(error, name, None) for name in names | set(vars(error))}
    found.pop("obj", None)  # of an AttributeError: the object, which is no part of it
    return {name: value for name, value in found.items() if not callable(value)}


@pytest.mark.parametrize("error", ALL, ids=[f"{i} {type(each).__name__}" for i, each in enumerate(ALL)])
def test_type_message_arguments_and_attributes_are_as_raised(error: BaseException) -> None:
    again = unpack(pack(error) or b"")
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.args == error.args
    plain = {k: v for k, v in fields(error).items() if not isinstance(v, requests.PreparedRequest)}
    assert {k: v for k, v in fields(again).items() if k in plain} == plain
    assert not hasattr(again, "__notes__")


def test_what_requests_raises_has_its_response() -> None:
    response = requests.Response()
    response.status_code, response._content, response.url = 404, b'{"why": "gone"}', "http://x/y"
    response.request = requests.Request("GET", "http://x/y").prepare()
    with pytest.raises(requests.HTTPError) as met:
        response.raise_for_status()
    again: Any = unpack(pack(met.value) or b"")
    assert type(again) is requests.HTTPError and str(again) == str(met.value)
    assert again.response.status_code == 404 and again.response.json() == {"why": "gone"}
    assert again.request.url == "http://x/y"


def test_what_pydantic_raises_has_its_errors() -> None:
    class Model(pydantic.BaseModel):
        x: int
        y: list[float]

    with pytest.raises(pydantic.ValidationError) as met:
        Model(x="no", y=[1.0, "nor"])  # type: ignore[arg-type, list-item]
    met.value.add_note("of the config")
    again: Any = unpack(pack(met.value) or b"")
    assert type(again) is pydantic.ValidationError
    assert again.errors() == met.value.errors() and str(again) == str(met.value)
    assert again.__notes__ == ["of the config"]


def test_an_attribute_that_cannot_travel_stays_and_is_named() -> None:
    error = Required(3, "x")
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    error.add_note("of the user")
    again = unpack(pack(error) or b"")
    assert isinstance(again, Required) and again.code == 3 and str(again) == "3: x"
    assert not hasattr(again, "lock")
    first, second = again.__notes__
    assert first == "of the user"
    assert second.startswith("Left on the worker: attribute 'lock': <unlocked _thread.lock")
    assert error.__notes__ == ["of the user"]


def test_an_argument_that_cannot_travel_is_its_repr() -> None:
    lock = threading.Lock()
    again = unpack(pack(ValueError("held by", lock)) or b"")
    assert type(again) is ValueError and again.args == ("held by", repr(lock))
    assert again.__notes__ == [f"Left on the worker: argument 1: {lock!r}"]


def test_causes_contexts_and_notes_are_as_raised() -> None:
    def raised(suppress: bool) -> BaseException:
        try:
            try:
                raise KeyError("first")
            except KeyError as first:
                first.add_note("the very first")
                try:
                    raise Required(1, "second")
                except Required as second:
                    raise Doubling("third") from (None if suppress else second)
        except Doubling as exc:
            return exc

    error = unpack(pack(raised(suppress=False)) or b"")
    second = error.__cause__
    assert isinstance(second, Required) and error.__context__ is second and error.__suppress_context__
    assert type(second.__context__) is KeyError and not second.__suppress_context__
    assert second.__context__.__notes__ == ["the very first"] and second.__cause__ is None
    error = unpack(pack(raised(suppress=True)) or b"")
    assert error.__cause__ is None and error.__suppress_context__ and isinstance(error.__context__, Required)


def test_groups_keep_their_members_and_what_these_hold() -> None:
    inner = Required(1, "in")
    inner.__cause__ = KeyError("why")
    error = Group("both", [inner, ExceptionGroup("more", [Doubling("a"), ValueError(2)])], 9)
    again: Any = unpack(pack(error) or b"")
    assert type(again) is Group and again.code == 9 and str(again) == str(error)
    first, more = again.exceptions
    assert isinstance(first, Required) and repr(first.__cause__) == "KeyError('why')"
    assert [str(each) for each in more.exceptions] == ["no a here", "2"]
    matched, rest = again.split(Required)
    assert len(matched.exceptions) == 1 and rest is not None
    base = unpack(pack(BaseExceptionGroup("end", [SystemExit(3)])) or b"")
    assert isinstance(base, BaseExceptionGroup) and base.exceptions[0].code == 3
    many = unpack(pack(ExceptionGroup("many", [ValueError(i) for i in range(1000)])) or b"")
    assert isinstance(many, ExceptionGroup) and len(many.exceptions) == 1000


def test_exceptions_in_attributes_are_the_same_objects() -> None:
    error, other = Required(1, "a"), Required(2, "b")
    error.all = [error, other]  # type: ignore[attr-defined]
    error.__cause__ = other
    other.__cause__ = error
    again: Any = unpack(pack(error) or b"")
    assert again.all == [again, again.__cause__] and again.__cause__.__cause__ is again


def test_a_long_chain_is_cut() -> None:
    error: BaseException = ValueError(0)
    for number in range(1, 3000):
        after = ValueError(number)
        after.__context__ = error
        error = after
    again = unpack(pack(error) or b"")
    length = 1
    while again.__context__ is not None:
        again, length = again.__context__, length + 1
    assert length == module._MOST


def unpicklable(text: str) -> Exception:
    class Unpicklable(Exception):
        lock = threading.Lock()  # a class of a function travels by value, with all that it holds

    return Unpicklable(text)


def test_only_a_class_that_cannot_be_pickled_has_no_bytes() -> None:
    assert pack(unpicklable("x")) is None
    error = ValueError("outer")
    error.__cause__ = unpicklable("inner")
    again = unpack(pack(error) or b"")
    assert type(again) is ValueError and type(again.__cause__) is JobError
    assert str(again.__cause__) == "Unpicklable: inner"


def test_what_is_not_known_here_is_left_out_or_raised(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_the_worker.py").write_text("class Error(Exception): ...\nclass Thing: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import of_the_worker  # type: ignore[import-not-found]

    error = ValueError("known", 1)
    error.thing = of_the_worker.Thing()  # type: ignore[attr-defined]
    error.__cause__ = of_the_worker.Error("unknown")
    packed, unknown = pack(error), pack(of_the_worker.Error("x"))
    monkeypatch.undo()
    monkeypatch.delitem(__import__("sys").modules, "of_the_worker")
    again = unpack(packed or b"")
    assert again.args == ("known", 1) and not hasattr(again, "thing")
    assert again.__notes__ == [
        "Attribute 'thing' cannot be rebuilt here: ModuleNotFoundError: No module named 'of_the_worker'"
    ]
    assert type(again.__cause__) is JobError and str(again.__cause__) == "Error: unknown"
    with pytest.raises(ModuleNotFoundError):
        unpack(unknown or b"")


def test_what_fails_to_say_what_it_is_travels_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("mute")

        __repr__ = __str__

    error = Mute(Mute())
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    again = unpack(pack(error) or b"")
    assert type(again) is Mute and type(again.args[0]) is Mute


def test_code_that_it_holds_has_its_source() -> None:
    class Told(Exception):
        def cure(self) -> str:
            return "mend it"

    error = Told(lambda: "an argument")
    error.hook = lambda: "an attribute"  # type: ignore[attr-defined]
    kept: Any = unpack(pack(error) or b"")
    for code in (kept.cure, kept.args[0], kept.hook):
        assert inspect.getsourcefile(code) == __file__
    assert kept.cure() == "mend it" and "an attribute" in inspect.getsource(kept.hook)


def test_its_bytes_are_plain_for_another_pickle() -> None:
    assert isinstance(pickle.loads(pack(local()) or b""), list)
    assert cloudpickle.loads(cloudpickle.dumps(pack(local())))
