"""A params file in Python says what the real dvc reads in it."""

from __future__ import annotations

import pytest
from dvc.parsing.context import Context
from dvc.utils.serialize import parse_py

from ray_decorator.dvc.tracked import templates
from ray_decorator.dvc.tracked.python_params import parsed

TEXT = """
import os
LR = 1e-3
N: int = 3
BARE: int
a = b = 1
x, y = 1, 2
COMPUTED = os.getcwd()
NEGATIVE = -5
NAMES = ["a", {"deep": [1]}]
SHAPE = (2, (3, 4))
TABLE = {"k": {"v": None}, 1: True}
UNKNOWN = {**TABLE}
self.lost = 1
os.path = "no"
os.path.sep = "no"


class Train:
    EPOCHS = 5

    class Inner:
        z = "s"

    def __init__(self, seed):
        local = 1
        self.seed = seed
        self.batch = 32
        self.a.b = 1

    def other(self):
        self.never = 1


def free():
    inside = 1


if True:
    LATER = 1
"""


def test_it_says_what_dvc_reads() -> None:
    theirs, ours = parse_py(TEXT, "params.py"), parsed(TEXT)
    assert ours.keys() == theirs.keys()
    assert ours == theirs
    assert ours["Train"] == {"EPOCHS": 5, "Inner": {"z": "s"}, "batch": 32}
    known = {
        name: value for name, value in theirs.items() if name != "SHAPE"
    }  # DVC's templates take no tuples
    template = "${LR} ${Train.Inner.z} ${NAMES[1].deep[0]} ${TABLE.k.v}"
    assert templates.resolved(template, templates.visible(ours)) == Context(known).resolve(template)


def test_what_is_no_python_is_an_error() -> None:
    with pytest.raises(ValueError, match="invalid syntax"):
        parsed("a = ")
