"""What a script has set for its process in Python's library and in numpy holds where its task runs."""

from __future__ import annotations

import decimal
import gc
import locale
import pickle
import socket
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ray_decorator.core.serialization import pickling
from ray_decorator.frontends.script import defaults as script_defaults


def state() -> list[Any]:
    return [
        decimal.getcontext().prec,
        locale.setlocale(locale.LC_NUMERIC),
        socket.getdefaulttimeout(),
        gc.get_threshold(),
        gc.isenabled(),
        sys.getswitchinterval(),
        np.geterr()["divide"],
        str(np.array([1 / 3])),
    ]


SET = [7, "C.UTF-8", 11.0, (500, 9, 8), False, 0.25, "raise", "[0.33]"]


@pytest.fixture
def here() -> list[Any]:
    return state()


@pytest.fixture
def there(here: list[Any]) -> Iterator[dict[str, Any]]:
    """As it comes to a worker; this process has none of it."""
    with decimal.localcontext() as context, np.errstate(divide="raise"), np.printoptions(precision=2):
        context.prec = 7
        locale.setlocale(locale.LC_NUMERIC, "C.UTF-8")
        socket.setdefaulttimeout(11)
        gc.set_threshold(500, 9, 8)
        gc.disable()
        sys.setswitchinterval(0.25)
        assert state() == SET
        found = pickle.loads(pickling.dumps(script_defaults.captured(), "the defaults"))
    locale.setlocale(locale.LC_NUMERIC, here[1])
    socket.setdefaulttimeout(here[2])
    gc.set_threshold(*here[3])
    gc.enable()
    sys.setswitchinterval(here[5])
    yield found


def test_it_is_so_for_the_time_being(here: list[Any], there: dict[str, Any]) -> None:
    with script_defaults.installed(there):
        assert state() == SET
        with pytest.raises(FloatingPointError):
            np.float64(1) / np.float64(0)
    assert state() == here


def test_what_a_node_has_not_is_left_as_it_is(there: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    there["locale"]["LC_TIME"] = "tlh_QO"
    monkeypatch.delitem(sys.modules, "numpy")
    with script_defaults.installed(there):
        assert "numpy" not in sys.modules
        assert locale.setlocale(locale.LC_NUMERIC) == "C.UTF-8"


def test_what_cannot_travel_stays_and_the_rest_goes() -> None:
    frame = sys._getframe()
    with np.printoptions(formatter={"int": lambda _: frame.f_code.co_name}):
        found = script_defaults.captured()
    assert "numpy's printing" not in found and found["numpy's errors"]["divide"] == "warn"
