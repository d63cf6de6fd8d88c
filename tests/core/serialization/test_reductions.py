"""Classes that say how they are pickled: what they give is used, and what is no way of their own is left alone."""

from __future__ import annotations

import copyreg
import http.client
import io
import json
import urllib.error
from typing import Any

import pytest

from ray_decorator.core.serialization.exceptions import pack, unpack
from ray_decorator.core.serialization.reductions import made_from, reduced


class Registered(Exception):
    def __init__(self, *, x: int) -> None:
        super().__init__()
        self.x = x


def registered(x: int) -> Registered:
    return Registered(x=x)


def test_the_classes_own_way() -> None:
    error = json.JSONDecodeError("bad", "{]", 1)
    parts = reduced(error)
    assert parts is not None
    again = made_from(parts)
    assert type(again) is json.JSONDecodeError and (str(again), again.pos) == (str(error), 1)


def test_a_way_that_copyreg_knows() -> None:
    copyreg.pickle(Registered, lambda error: (registered, (error.x,)))
    parts = reduced(Registered(x=3))
    assert parts == (registered, (3,))
    again: Any = made_from(parts)
    assert again.x == 3


@pytest.mark.parametrize("error", [ValueError(1), OSError(2, "x", "y"), ImportError("x", name="n")])
def test_pythons_own_way_is_none(error: Exception) -> None:
    assert reduced(error) is None


def test_what_urllib_raises_can_be_read() -> None:
    headers = http.client.HTTPMessage()
    headers["Retry-After"] = "3"
    error = urllib.error.HTTPError("http://x", 503, "Busy", headers, io.BytesIO(b"come again"))
    again: Any = unpack(pack(error) or b"")
    assert type(again) is urllib.error.HTTPError
    assert (again.code, again.reason, again.url, str(again)) == (503, "Busy", "http://x", str(error))
    assert again.headers["Retry-After"] == "3" and again.read() == b"come again"
    again.close()
    assert not hasattr(again, "__notes__")


class Unreadable(io.BytesIO):
    def read(self, *_: Any) -> bytes:
        raise ConnectionError("the line is dead")


def test_what_urllib_raises_without_a_body() -> None:
    headers = http.client.HTTPMessage()
    for fp in (None, Unreadable()):
        again: Any = unpack(pack(urllib.error.HTTPError("http://x", 500, "No", headers, fp)) or b"")
        assert again.code == 500 and str(again) == "HTTP Error 500: No"
