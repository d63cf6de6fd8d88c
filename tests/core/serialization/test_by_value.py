"""What a script defines, in another process: there `__main__` is another program, which has nothing of it."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from ray_decorator.core.serialization import by_value, pickling

SCRIPT = """
import dataclasses, functools, sys, typing, weakref
from ray_decorator.core.serialization import pickling

@functools.lru_cache(maxsize=7)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

class Model:
    @functools.cache
    def size(self):
        return 3

    @functools.cached_property
    def area(self):
        return self.size() ** 2

@functools.singledispatch
def kind(value):
    return "any"

@kind.register
def _(value: int):
    return "int"

UserId = typing.NewType("UserId", int)

@dataclasses.dataclass
class Conf:
    sizes: list = dataclasses.field(default_factory=list)

KEPT = Model()
BY_NAME, TO_KEPT, TO_GONE = weakref.WeakValueDictionary(kept=KEPT), weakref.ref(KEPT), weakref.ref(Model())

def task():
    first, second = Model(), Model()
    return {
        "cached": [fibonacci(30), fibonacci.cache_info().currsize, fibonacci.cache_parameters()["maxsize"]],
        "of a class": [first.size(), first.size(), Model.size.cache_info().hits],
        "property": [first.area, "area" in vars(first), "area" in vars(second)],
        "dispatched": [kind(1), kind("a"), kind(True)],
        "field": [dataclasses.fields(Conf)[0].default is dataclasses.MISSING, Conf().sizes],
        "weak": [BY_NAME["kept"] is KEPT, TO_KEPT() is KEPT, TO_GONE() is None],
        "new type": [UserId(3), UserId.__name__, UserId.__module__, UserId.__supertype__.__name__],
    }

fibonacci(40)
sys.stdout.buffer.write(pickling.pickled(task))
"""
THERE = "import json, pickle, sys; print(json.dumps(pickle.load(sys.stdin.buffer)()))"


def test_a_scripts_caches_properties_and_types_are_there_as_at_home(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    sent = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, timeout=60)
    assert sent.returncode == 0, sent.stderr
    there = subprocess.run([sys.executable, "-c", THERE], input=sent.stdout, capture_output=True, timeout=60)
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout) == {
        "cached": [832040, 7, 7],
        "of a class": [3, 3, 1],
        "property": [9, True, False],
        "dispatched": ["int", "any", "int"],
        "field": [True, []],
        "weak": [True, True, True],
        "new type": [3, "UserId", "__main__", "int"],
    }


@functools.lru_cache
def cached_here(value: int) -> int:
    return value


TypeHere = typing.NewType("TypeHere", int)


@pytest.mark.parametrize("value", [cached_here, TypeHere], ids=["cache", "new type"])
def test_what_a_module_has_goes_by_its_name(value: Any) -> None:
    assert pickling.loads(pickling.pickled(value)) is value
    assert not by_value._is_elsewhere("__main__", "f") and not by_value._is_elsewhere(
        __name__, "f.<locals>.g"
    )


def test_a_copy_of_missing_is_the_one_that_is_there() -> None:
    """Plain cloudpickle copies it with a class, also where it fills a class that it has made anew."""
    copied = cloudpickle.loads(cloudpickle.dumps(dataclasses.MISSING))
    assert copied is not dataclasses.MISSING
    assert pickling.loads(pickling.dumps([copied], "value")) == [dataclasses.MISSING]
