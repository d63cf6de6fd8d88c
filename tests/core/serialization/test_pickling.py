"""What travels by value and what by reference, where that differs from cloudpickle."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import linecache
import sys
from pathlib import Path
from types import ModuleType

import numpy
import pytest

from ray_decorator.core.serialization import pickling

HIDING = """\
import functools

def hides(function):
    @functools.wraps(function)
    def on_top(*args):
        return "hidden: " + function(*args)
    return on_top

COUNT = 0

@hides
@hides
def told():
    global COUNT
    COUNT += 1
    return str(COUNT)
"""


@pytest.fixture
def hiding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "hiding_module.py"
    file.write_text(HIDING)
    monkeypatch.setitem(sys.modules, "hiding_module", ModuleType("placeholder"))
    del sys.modules["hiding_module"]
    return file


def test_a_function_below_its_decorators_is_that_very_function(hiding: Path) -> None:
    module = importlib.import_module("hiding_module")
    inner = module.told.__wrapped__.__wrapped__
    assert pickling.loads(pickling.dumps(inner, "it")) is inner
    assert pickling.loads(pickling.dumps(module.told.__wrapped__, "it")) is module.told.__wrapped__


def test_one_of_a_module_that_only_a_loader_of_its_own_finds_is_a_copy(
    hiding: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("under_another_name", hiding)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "under_another_name", module)
    spec.loader.exec_module(module)
    inner = module.told.__wrapped__.__wrapped__
    data = pickling.dumps(inner, "it")
    monkeypatch.delitem(sys.modules, "under_another_name")
    copy = pickling.loads(data)
    assert copy is not inner and copy() == "1"


def test_code_keeps_its_files_name() -> None:
    copy = pickling.loads(pickling.dumps(lambda: 1, "it"))
    assert copy.__code__.co_filename == __file__
    assert copy() == 1


def test_what_travels_may_be_limited() -> None:
    assert pickling.travels(numpy.zeros(1000))
    assert pickling.travels(numpy.zeros(1000), most=9000)
    assert not pickling.travels(numpy.zeros(1000), most=7000)
    assert not pickling.travels(numpy.zeros(100_000), most=700_000)
    assert not pickling.travels(line for line in "ab")


def test_source_that_is_in_no_file_goes_along_once_with_all_code_that_it_is_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = "def one():\n    return [n for n in range(2)]\n\ndef two():\n    return 2\n" + "# long\n" * 1000
    monkeypatch.setitem(linecache.cache, "<cell>", (len(source), None, source.splitlines(True), "<cell>"))
    exec(compile(source, "<cell>", "exec"), names := {"__name__": "__main__"})
    pickled = pickling.dumps([names["one"], names["two"]], "them")
    alone = pickling.dumps(names["one"], "it")
    monkeypatch.delitem(linecache.cache, "<cell>")
    one, two = pickling.loads(pickled)
    assert inspect.getsource(one) == "def one():\n    return [n for n in range(2)]\n"
    assert inspect.getsource(two) == "def two():\n    return 2\n"
    assert len(pickled) < 1.5 * len(alone)
