"""Where things are: a test file for each module, empty packages, and modules that a bare node can import."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import marking
import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ROOT / "ray_decorator"
PLUGIN = ROOT / "hydra_plugins" / "hydra_ray_s3_launcher"
MODULES = sorted(
    path.relative_to(ROOT)
    for folder in (HOUSE, PLUGIN)
    for path in folder.rglob("*.py")
    if path.name != "__init__.py"
)
ON_A_BARE_NODE = (
    "node.entry",
    "node.supervisor",
    "node.messages",
    "environment.build",
    "environment.inventory",
    "job.disk.ours",
)
WITHOUT_A_QUICK_TEST = {
    "display/test_screen.py",  # a screen is what a whole program shows on a terminal
    "environment/test_build.py",  # each builds an environment by uv
}


def _test_of(module: Path) -> Path:
    """``ray_decorator/core/slots.py`` -> ``tests/core/test_slots.py``; `_core` of the plugin -> ``test_core``."""
    folder = (
        Path("plugin")
        if PLUGIN.relative_to(ROOT) in module.parents
        else module.relative_to(HOUSE.name).parent
    )
    return ROOT / "tests" / folder / f"test_{module.stem.strip('_')}.py"


def _mentions(text: str, module: Path) -> bool:
    *package, name = module.with_suffix("").parts
    whole, folder = ".".join((*package, name)), re.escape(".".join(package))
    one_of_several = rf"^from {folder} import (\([^)]*\b{name}\b|[^(\n]*\b{name}\b)"
    return bool(re.search(rf"{re.escape(whole)}\b", text) or re.search(one_of_several, text, re.MULTILINE))


def test_each_module_has_a_test_file_that_imports_it() -> None:
    missing = []
    for module in MODULES:
        there = _test_of(module)
        if not there.is_file() or not _mentions(there.read_text(), module):
            missing.append(f"{there.relative_to(ROOT)} imports {module}")
    assert len(MODULES) > 80
    assert missing == []


def test_all_modules_but_a_few_have_a_quick_test_or_one_that_calls_ray() -> None:
    """Of the test files that are collected in this run."""
    alone = {_test_of(module).relative_to(ROOT / "tests").as_posix() for module in MODULES if _is_app(module)}
    assert alone <= WITHOUT_A_QUICK_TEST


def _is_app(module: Path) -> bool:
    return marking.needed.get(_test_of(module)) == {"app"}


def test_the_house_holds_packages_alone() -> None:
    beside = {path.name for path in HOUSE.iterdir() if path.name != "__pycache__" and not path.is_dir()}
    assert beside == {"__init__.py", "__main__.py", "py.typed"}


def test_packages_are_empty() -> None:
    packages = [path for path in HOUSE.rglob("*") if path.is_dir() and path.name != "__pycache__"]
    assert {path.name for path in packages if path.parent == HOUSE} == {
        "cluster", "content", "core", "display", "doctor", "dvc", "environment",
        "frontends", "job", "node", "project", "run", "store",
    }  # fmt: skip
    assert {path: (path / "__init__.py").read_text() for path in packages} == dict.fromkeys(packages, "")
    assert not (PLUGIN.parent / "__init__.py").exists()  # it is a namespace: other plugins are there too


@pytest.mark.parametrize("module", ON_A_BARE_NODE)
def test_a_bare_node_can_import_it(module: str) -> None:
    code = (
        f"import sys; sys.path.append({str(ROOT)!r}); import ray_decorator.{module}\n"
        "others = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names\n"
        "print(*sorted(others - {'__main__', '__mp_main__'}))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("ray_decorator\n", "")


@pytest.mark.parametrize(
    ("markexpr", "left_out"),
    [
        ("", set()),
        ("not ray and not cluster and not app", {"apps", "clusters"}),
        ("not (app or slow)", {"apps"}),
        ("ray", set()),  # some of the programs need it
        ("app or ray", set()),
        ("app and not app", {"apps", "clusters"}),
        ("not app(of='x')", set()),
    ],
)
def test_a_run_without_programs_does_not_read_their_tests(markexpr: str, left_out: set[str]) -> None:
    folders = [path for path in (ROOT / "tests").iterdir() if path.is_dir()]
    assert {folder.name for folder in folders if marking.left_out(folder, markexpr)} == left_out


@pytest.mark.xdist_group("kept")
def test_what_shares_something_stays_in_one_process(request: pytest.FixtureRequest) -> None:
    """pytest-xdist tells a group by the end of a test's name, which a new pytest may lose without a word."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@kept")
