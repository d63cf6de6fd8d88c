"""Return values as JSON holds them."""

from __future__ import annotations

import json
import math
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

from ray_decorator.core.values.returned import Told, Value, value_of

LOOP: list[Any] = []
LOOP.append(LOOP)
Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        2**70,
        1.5,
        -math.inf,
        "ü",
        [],
        [1, [2.0, None]],
        {"a": {"b": [1]}},
        (1, "x"),
        (),
        ([1],),
    ],
    ids=str,
)
def test_it_comes_back_as_it_was(value: Any) -> None:
    held = value_of(value)
    assert held.why == ""
    back = Value(json.loads(json.dumps(held.json)), held.is_tuple).held()
    assert (back, type(back)) == (value, type(value))


def test_a_float_of_numpys_is_a_float() -> None:
    held = value_of({"score": np.float64(0.1)})
    assert held.json == {"score": 0.1} and type(held.json["score"]) is float


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "a builtins.object"),
        ([1, {"a": {1, 2}}], "a builtins.set"),
        ({1: 2}, "the key 1 is a int"),
        ((1, (2,)), "a builtins.tuple"),
        (np.float32(1.0), "a numpy.float32"),
        (np.zeros(2), "a numpy.ndarray"),
        (Pair(1, 2), "Pair"),
        (b"x", "a builtins.bytes"),
        (LOOP, "nested without end"),
        ("x" * 600_000, "600002 characters of JSON"),
        ([[0] * 1_000] * 1_000, "more than 262144 values"),
        ([1, 10**5000], "4300 digits"),
    ],
    ids=range(12),
)
def test_what_json_cannot_hold_is_said(value: Any, why: str) -> None:
    held = value_of(value)
    assert held.json is None and why in held.why


def test_told_holds_it() -> None:
    assert Told("COMPLETED", value_of(3)).value.held() == 3
