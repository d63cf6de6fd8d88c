"""Cells of a notebook, and other code that is in no file: beside the same function called directly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import warm_python

pytestmark = pytest.mark.usefixtures("ray_session_address")

CELLS = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()  # as a notebook's kernel has one
for cell in json.load(open("cells.json")):
    shell.run_cell(cell, store_history=True).raise_error()
"""

DEFINES = [
    """
import inspect, traceback
from ray_decorator import ray_decorator

def helper(n):
    return n + 1  # of a cell before
""",
    """
class Model:
    def fit(self):
        return helper(1)

def sources(value):
    def inner():
        return helper(value)
    yield helper, inner, Model.fit, lambda: value
    yield sources
""",
    '''
def told(n):
    """What a logger of sources finds."""
    found = [inspect.getsource(each) for each in (told, *next(sources(n)))]
    try:
        Model.fit(n, "too many")
    except TypeError:
        pass
    try:
        raise ValueError("here")
    except ValueError:
        found.append(traceback.format_exc().splitlines()[-2].strip())
    return found
''',
]

COMPARES = """
import json
ours = ray_decorator()(told)
print(json.dumps([ours.local(1), ours(1), ours(2)]))
"""


def run(home: Path, *arguments: str, given: str | None = None) -> str:
    begin = warm_python.starter() if given is None else [sys.executable]
    done = subprocess.run(
        [*begin, *arguments], cwd=home, input=given, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_source_of_functions_of_cells_of_which_one_is_changed_and_run_again(tmp_path: Path) -> None:
    changed = DEFINES[0].replace("of a cell before", "changed")
    cells = [*DEFINES, COMPARES, changed, COMPARES]
    (tmp_path / "cells.json").write_text(json.dumps(cells))
    (tmp_path / "kernel.py").write_text(CELLS)
    lines = [json.loads(line) for line in run(tmp_path, "kernel.py").splitlines() if line.startswith("[")]
    assert len(lines) == 2
    for at_home, *there in lines:
        assert there == [at_home, at_home]
    at_home = lines[0][0]
    assert at_home[0] == DEFINES[2].lstrip("\n")
    assert at_home[1] == "def helper(n):\n    return n + 1  # of a cell before\n"
    assert at_home[-1] == 'raise ValueError("here")'
    assert "# changed" in lines[1][0][1] and "# changed" not in lines[0][0][1]


WITHOUT_A_FILE = """
import inspect, json, linecache
from ray_decorator import ray_decorator

def made(file, number, known):
    source = f"def generated():\\n    return {number}\\n"
    if known:
        linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    exec(compile(source, file, "exec"), names := {"__name__": "__main__"})
    return names["generated"]

def told(function):
    try:
        return inspect.getsource(function)
    except OSError as exc:
        return str(exc)

ours = ray_decorator()(told)
functions = [made("<made>", 1, True), made("<other>", 2, False), told]
print(json.dumps([[ours.local(each), ours(each)] for each in functions]))
functions = [made("<made>", 3, True)]
print(json.dumps([[ours.local(each), ours(each)] for each in functions]))
"""


@pytest.mark.parametrize("how", ["a script", "python -c", "stdin"])
def test_of_code_that_was_made_at_run_time(tmp_path: Path, how: str) -> None:
    (tmp_path / "script.py").write_text(WITHOUT_A_FILE)
    arguments = {"a script": ["script.py"], "python -c": ["-c", WITHOUT_A_FILE], "stdin": ["-"]}[how]
    printed = run(tmp_path, *arguments, given=WITHOUT_A_FILE if how == "stdin" else None)
    pairs = [pair for line in printed.splitlines()[-2:] for pair in json.loads(line)]
    for at_home, there in pairs:
        assert there == at_home
    (made, other, told, again) = [at_home for at_home, _ in pairs]
    assert made.endswith("return 1\n") and again.endswith("return 3\n")
    assert other == "could not get source code"
    assert told.startswith("def told(" if how == "a script" else "could not get source code")
