"""An exception that is part of a value comes back as it was, whatever its class does in ``__init__``."""

from __future__ import annotations

import io
import threading
import urllib.error
from email.message import Message
from typing import Any

import pytest

from ray_decorator.core.errors import PicklingError
from ray_decorator.core.serialization.exception_parts import attributes_of
from ray_decorator.core.serialization.pickling import dumps, loads


class KeywordOnly(Exception):
    def __init__(self, code: int, *, extra: Any) -> None:
        super().__init__(f"code {code}")
        self.code, self.extra = code, extra


class Required(KeyError):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a}-{b}")


def caught(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        try:
            raise error from cause
        except BaseException:
            raise
    except BaseException as exc:
        return exc


@pytest.mark.parametrize(
    "error",
    [
        KeywordOnly(3, extra=[1]),
        Required(1, 2),
        NameError("name 'x' is not defined", name="x"),
        ImportError("no", name="n", path="p"),
        FileNotFoundError(2, "No such file", "a.txt"),
        ExceptionGroup("two", [KeywordOnly(1, extra=2), ValueError(1)]),
        UnicodeDecodeError("utf8", b"\xff", 0, 1, "bad"),
        KeyError("k"),
        StopIteration(5),
    ],
    ids=lambda error: type(error).__name__,
)
def test_it_keeps_type_message_arguments_and_attributes(error: BaseException) -> None:
    error.add_note("a note")
    (came,) = loads(dumps([error], "value"))
    assert (type(came), str(came), came.__notes__) == (type(error), str(error), ["a note"])
    if isinstance(error, ExceptionGroup):
        members = [(type(each), str(each)) for each in came.exceptions]
        assert members == [(KeywordOnly, "code 1"), (ValueError, "1")]
    else:
        assert (came.args, list(attributes_of(came))) == (error.args, list(attributes_of(error)))


def test_one_that_says_itself_how_it_is_pickled_is_asked() -> None:
    error = urllib.error.HTTPError("http://x", 404, "Not Found", Message(), io.BytesIO(b"gone"))
    (came,) = loads(dumps([error], "value"))
    assert (came.code, came.read()) == (404, b"gone")


def test_its_cause_comes_along_and_what_is_one_object_stays_one() -> None:
    shared = [1]
    error = caught(KeywordOnly(1, extra=shared), Required(1, 2))
    error.itself = error  # type: ignore[attr-defined]
    came, again, kept = loads(dumps((error, error, shared), "value"))
    assert came is again and came.itself is came and came.extra is kept
    assert type(came.__cause__) is Required and came.__suppress_context__


def test_a_cause_that_cannot_travel_stays_here() -> None:
    error = caught(ValueError("ours"), KeywordOnly(1, extra=threading.Lock()))
    came = loads(dumps(error, "value"))
    assert (str(came), came.__cause__) == ("ours", None)


def test_an_attribute_that_cannot_travel_is_named() -> None:
    with pytest.raises(PicklingError, match=r"the attribute 'extra' of KeywordOnly is a _thread\.lock"):
        dumps([KeywordOnly(1, extra=threading.Lock())], "value")


def linked(errors: int) -> BaseException:
    """As each is raised from the one before, while that is handled: its cause is its context, too."""
    last: BaseException = ValueError(0)
    for number in range(1, errors):
        error = KeywordOnly(number, extra=None)
        error.__cause__ = error.__context__ = last
        last = error
    return last


def chain(error: BaseException | None) -> int:
    return 0 if error is None else 1 + chain(error.__cause__)


def test_many_that_hang_together_are_each_looked_at_once_and_too_many_are_left_out() -> None:
    assert chain(loads(dumps([linked(30)], "value"))[0]) == 30  # 3 to the 30th, where each looks at all below
    assert 30 <= chain(loads(dumps([linked(500)], "value"))[0]) < 500


def test_a_circle_of_causes_and_contexts_stays_one() -> None:
    first, second = ValueError(1), KeywordOnly(2, extra=None)
    first.__cause__ = first.__context__ = second
    second.__cause__ = second.__context__ = first
    came = loads(dumps([first], "value"))[0]
    assert type(came.__cause__) is KeywordOnly and came.__cause__.__context__ is came
