"""What of the user's code and packages makes another job of one."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
from trees import tree

from ray_decorator.core.errors import InputError
from ray_decorator.core.options.settings import Settings
from ray_decorator.core.records.job_ids import Surroundings
from ray_decorator.project import collect
from ray_decorator.run.data.staging import Staging
from ray_decorator.run.ledger import surroundings as module
from ray_decorator.run.ledger.surroundings import surroundings

SETTINGS = Settings("local", "", True)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As in a driver whose script is app/train.py, started there."""
    files = {
        "pyproject.toml": b"[project]\nname='p'\n",
        "train.py": b"x = 1\n",
        "lib/a.py": b"",
        "other.yaml": b"a",
    }
    root = tree(tmp_path / "app", {**files, "conf/a.yaml": b"a: 1", "conf/a.py": b"", "out/m": b"model"})
    main = types.ModuleType("__main__")
    main.__file__ = str(root / "train.py")
    monkeypatch.setitem(sys.modules, "__main__", main)
    kept = [entry for entry in sys.path if "site-packages" in entry or "lib/python" in entry]
    monkeypatch.setattr(sys, "path", [str(root), *kept])
    monkeypatch.chdir(root)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return root


def found(root: Path, settings: Settings = SETTINGS) -> Surroundings:
    staging = Staging((root.parent / "store").as_uri(), "driver")
    return surroundings(settings, staging, [root / "out"], [str(root / "conf")])


@pytest.mark.parametrize(
    ("file", "same"),
    [("train.py", False), ("lib/a.py", False), ("new.py", False), ("other.yaml", False), ("conf/a.py", False),
     ("conf/a.yaml", True), ("conf/deep/new.yaml", True), ("out/m", True), ("nohup.out", True), ("a.log", True)],
)  # fmt: skip
def test_a_file_that_changes(file: str, same: bool, project: Path) -> None:
    first = found(project)
    (project / file).parent.mkdir(exist_ok=True)
    (project / file).write_bytes(b"# something else\n")
    assert (found(project).code == first.code) is same


def test_the_code_counts_also_where_it_does_not_travel(project: Path) -> None:
    assert found(project, replace(SETTINGS, code="none", packages="none")) == found(project)


def test_it_knows_which_file_is_what(project: Path) -> None:
    around = found(project)
    assert around.places[str(project / "lib" / "a.py")] == "0/lib/a.py"
    assert ("0/lib/a.py", "d41d8cd98f00b204e9800998ecf8427e") in around.files


def test_a_package_that_changes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = found(project)
    known = module.installed_distributions()
    pins = {**known.pins, "numpy": "0.1"}
    monkeypatch.setattr(module, "installed_distributions", lambda: replace(known, pins=pins))
    assert found(project).packages != first.packages and found(project).code == first.code


def test_what_is_hardly_code_is_not_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "_MANY_BYTES", 5)
    with pytest.raises(
        InputError, match=r"the project's code is \d files of 0 MB, .*add what is no code to .gitignore"
    ):
        found(project)
