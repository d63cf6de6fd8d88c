"""Paths of the driver's code that a script keeps in nested places, on another machine."""

from __future__ import annotations

import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from ray_decorator.core.serialization import pickling
from ray_decorator.frontends.script import main_module, paths

SCRIPT = """
import dataclasses, enum, functools, os, typing
from pathlib import Path

ROOT = Path(__file__).parent
HERE = os.path.dirname(__file__)
PATHS = {"path": ROOT / "a", "text": HERE + "/a", "all": [HERE, (HERE, ROOT)]}
OTHERS = {"/usr/lib": ["/usr/lib", Path("/usr/lib"), "here: " + HERE, "/" + chr(0), Path("/" + chr(0)), Path("a")]}
THEMSELVES = []
THEMSELVES.append(THEMSELVES)

def default(root=ROOT, *, text=HERE):
    return root, text

def closing(root, text):
    def inner():
        return root, text
    return inner

INNER = closing(ROOT, HERE)
PARTIAL = functools.partial(default, ROOT)

@dataclasses.dataclass
class Config:
    root: Path = ROOT
    text: str = HERE

class Fixed:
    root = ROOT
    text = HERE

class Pair(typing.NamedTuple):
    root: Path = ROOT
    text: str = HERE

class Kind(enum.Enum):
    ROOT = ROOT

def paths():
    made = Config()
    return (
        *PATHS.values(), default(), INNER(), PARTIAL()[0], (made.root, made.text), (Config.root, Config.text),
        (Fixed.root, Fixed.text), tuple(Pair()), Kind.ROOT.value, Kind(ROOT) is Kind.ROOT,
    )

def others():
    return OTHERS
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    main = types.ModuleType("__main__")
    main.__file__ = str(tmp_path / "script.py")
    Path(main.__file__).write_text(SCRIPT)
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(SCRIPT, main.__file__, "exec"), vars(main))
    return main


# another process: in this one cloudpickle finds the very classes that it has pickled
THERE = """
import pickle, sys
from pathlib import Path

from ray_decorator.core.paths import Folder
from ray_decorator.core.serialization import pickling
from ray_decorator.frontends.script.main_module import installed, settle
from ray_decorator.job.process import workplace

data, argument, home, there, told = sys.argv[1:]
workplace._stands_for[:] = [(Folder(home, whole=True), Path(there))]
main, paths, others = pickle.loads(Path(data).read_bytes())
with installed(main, paths):
    given = pickle.loads(Path(argument).read_bytes())
    settle(main, paths)
    assert (given.root, given.text) == (Path(home), home)  # what is passed stays as it is
    Path(told).write_bytes(pickle.dumps((paths(), others(), pickling.dumps(main.objects["Kind"].ROOT, "a result"))))
"""


def expected(root: Path) -> tuple[Any, ...]:
    both = (root, str(root))
    kept = (root / "a", f"{root}/a", [str(root), (str(root), root)])
    return (*kept, both, both, root, both, both, both, both, root, True)


def test_paths_of_its_code_lead_to_that_code_there(script: types.ModuleType, tmp_path: Path) -> None:
    data, told = tmp_path / "data", tmp_path / "told"
    data.write_bytes(main_module.dumps(lambda main: (main, script.paths, script.others), "the task"))
    argument = tmp_path / "argument"
    argument.write_bytes(pickling.dumps(script.Config(), "an argument"))  # its class comes once more
    before = script.others()
    assert script.paths() == expected(tmp_path)  # nothing has changed at home
    for there in (tmp_path, tmp_path / "there"):
        subprocess.run([sys.executable, "-c", THERE, data, argument, tmp_path, there, told], check=True)
        here, others, result = pickle.loads(told.read_bytes())
        assert pickle.loads(result) is script.Kind.ROOT and script.Kind.ROOT.value == tmp_path
        assert here == expected(there)
        assert others == before


def test_long_lists_hold_data_and_no_paths_of_code() -> None:
    files = [f"/data/{n}.png" for n in range(2000)]
    assert paths.of({"FILES": files, "SOME": files[:2], "__file__": "/a.py"}, ()).keys() == set(files[:2])


def test_a_class_that_comes_home_stays_as_it_is(script: types.ModuleType, tmp_path: Path) -> None:
    data = pickling.dumps(script.Config(), "an object")
    script.Config.text = "changed since"
    assert type(pickling.loads(data)) is script.Config
    assert script.Config.text == "changed since"
