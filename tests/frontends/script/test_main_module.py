"""The driver's `__main__` in another process: its names, its file, and what was there before."""

from __future__ import annotations

import linecache
import pickle
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest

from ray_decorator.core.paths import Folder
from ray_decorator.frontends.script import main_module
from ray_decorator.frontends.script import settings as script_settings
from ray_decorator.frontends.script.main_module import Main, captured, installed
from ray_decorator.job.process import workplace

SCRIPT = """
import sys
FRAME = sys._getframe()

class Model:
    def __init__(self, size=1):
        self.size = size

def task(size):
    return Model(size)

def framed():
    return FRAME

other = len
SIZES = {"small": [1, 2.5]}
HIDDEN = {"a": FRAME}
THEMSELVES = []
THEMSELVES.append(THEMSELVES)

def by_name(name):
    return globals()[name]

def counts():
    global SIZES
    SIZES = 3
"""
SETTINGS = script_settings.captured()
OWN = {"Model", "task", "by_name", "counts", "SIZES"}
"""What of it can travel."""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """As in a driver that runs script.py."""
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    main = types.ModuleType("__main__")
    main.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(SCRIPT, str(file), "exec"), vars(main))
    return main


def travelled(function: Any) -> tuple[Main, Any]:
    """Both in one pickle, as they are with a task."""
    main, loaded = pickle.loads(main_module.dumps(lambda main: (main, function), "the task"))
    return main, loaded


def test_what_the_script_has_made_travels_and_what_cannot_stays(script: types.ModuleType) -> None:
    found = captured()
    assert set(found.objects) == OWN  # not its imports, nor what holds a frame
    assert (found.file, found.module) == (script.__file__, None)


def test_of_a_notebook_only_code_travels(script: types.ModuleType) -> None:
    del script.__file__
    assert set(captured().objects) == OWN - {"SIZES"}


def test_what_holds_large_data_stays(script: types.ModuleType) -> None:
    table = "x" * (main_module._MOST + 1)
    namespace = vars(script)
    exec("def large(): return table", namespace)
    namespace["table"] = table
    assert set(captured().objects) == OWN


def test_globals_are_those_of_main_also_what_no_function_names(script: types.ModuleType) -> None:
    main, (by_name, counts) = travelled((vars(script)["by_name"], vars(script)["counts"]))
    assert main.imports["sys"] == "sys" and main.imports["other"] == "builtins:len"
    with installed(main, by_name):
        assert by_name("other") is len
        assert by_name("Model")().size == 1
        here = sys.modules["__main__"]
        assert by_name.__globals__ is vars(here) is counts.__globals__
        assert by_name("SIZES") == {"small": [1, 2.5]}
        counts()
        assert vars(here)["SIZES"] == 3


def test_there_the_names_are_those_of_main_and_one_class_is_one_class(script: types.ModuleType) -> None:
    main, task = travelled(vars(script)["task"])
    before = sys.modules["__main__"]
    with installed(main, task):
        made = task(3)
        here = sys.modules["__main__"]
        assert here is not before
        assert type(made) is vars(here)["Model"] and type(made).__module__ == "__main__"
        assert pickle.loads(pickle.dumps(made)).size == 3
        assert vars(here)["__name__"] == "__main__" and vars(here)["__file__"] == script.__file__
    assert sys.modules["__main__"] is before


@pytest.mark.parametrize("is_imported", [False, True])
def test_what_a_spawned_process_sends_back_is_of_the_very_same_class(
    is_imported: bool, script: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "__mp_main__", script)  # as the import of multiprocessing does
    if not is_imported:
        del sys.modules["__mp_main__"]
    main, task = travelled(vars(script)["task"])
    with installed(main, task):
        assert pickle.loads(b"c__mp_main__\nModel\n.") is type(task(1))
    assert sys.modules.get("__mp_main__") is (script if is_imported else None)


def test_what_the_script_keeps_open_is_written_when_it_is_forgotten(
    script: types.ModuleType, tmp_path: Path
) -> None:
    """Once no thread is left that runs the script's code; others' threads do not count."""
    source = (
        "def opens(path, waits):\n    global file, size\n    file, size = open(path, 'w'), Model(3).size\n"
    )
    source += "    file.write('all')\n    waits()"
    exec(source, vars(script))
    main, opens = travelled(vars(script)["opens"])
    begun, ended = threading.Event(), threading.Event()

    def waits() -> None:
        begun.set()
        ended.wait(60)

    other = threading.Thread(target=ended.wait, args=[60])
    thread = threading.Thread(target=opens, args=[tmp_path / "open.txt", waits])
    with installed(main, opens):
        thread.start()
        assert begun.wait(60)
        main_module.forget(main, opens)
        ended.set()
        thread.join()
    ended.clear()
    other.start()
    assert (tmp_path / "open.txt").read_text() == ""
    main_module.forget(main, opens)
    assert (tmp_path / "open.txt").read_text() == "all"
    ended.set()
    assert opens.__globals__.keys() & {"file", "size", "Model"} == {"Model"}


def test_what_was_main_is_so_again_after_an_exception(script: types.ModuleType) -> None:
    with pytest.raises(KeyError), installed(Main({}, {}, None, None, SETTINGS), print):
        raise KeyError
    assert sys.modules["__main__"] is script


def test_a_script_that_lies_elsewhere_is_that_file_and_tracebacks_find_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "put" / "down.py"
    here.parent.mkdir()
    here.write_text("first\nsecond\n")
    monkeypatch.setattr(workplace, "_main", here)
    at_home = "/home/of/the/user/script.py"
    try:
        with installed(Main({}, {}, at_home, None, SETTINGS), print):
            assert vars(sys.modules["__main__"])["__file__"] == str(here)
            assert linecache.getline(at_home, 2) == "second\n"
    finally:
        linecache.cache.pop(at_home, None)


def test_globals_that_are_paths_of_its_code_lead_to_that_code_there(
    script: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "linked").symlink_to(".")
    values = {
        "ROOT": tmp_path / "linked",
        "TEXT": f"{tmp_path}/conf/",
        "OTHER": "/usr/lib",
        "SAID": "/\0",
        "REL": "conf",
    }
    vars(script).update(values)
    exec("def paths(): return ROOT, TEXT, OTHER, SAID, REL", vars(script))
    there = tmp_path / "there"
    monkeypatch.setattr(workplace, "_stands_for", [(Folder(str(tmp_path), whole=True), there)])
    main, paths = travelled(script.paths)
    with installed(main, paths):
        assert paths() == (there, f"{there}/conf/", "/usr/lib", "/\0", "conf")
        assert there == sys.modules["__main__"].ROOT
    monkeypatch.setattr(workplace, "_stands_for", [])
    main, paths = travelled(script.paths)
    with installed(main, paths):
        assert paths() == tuple(values.values())


def test_a_script_that_is_not_here_has_no_file() -> None:
    with installed(Main({}, {}, "/not/here.py", None, SETTINGS), print):
        assert "__file__" not in vars(sys.modules["__main__"])


@pytest.mark.parametrize(("module", "name"), [("json.tool", "json.tool"), ("not.here", None)])
def test_python_m_is_told_where_the_module_is_found(module: str, name: str | None) -> None:
    with installed(Main({}, {}, None, module, SETTINGS), print):
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        assert (spec.name if spec else None) == name
