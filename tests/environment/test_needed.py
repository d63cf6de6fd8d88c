"""Which packages jobs are given, and which stay at home."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from package_index import Index, make_wheel, python_path, serve

from ray_decorator.core.errors import InputError
from ray_decorator.environment import graph
from ray_decorator.environment.installed import Installed, Local, installed_distributions
from ray_decorator.environment.needed import needed

REQUIRES = {
    "dvc": ("dvc-data", "rich", "gitpython", "fsspec"),
    "dvc-data": ("fsspec", "sqltrie"),
    "dvc-s3": ("dvc", "s3fs"),
    "s3fs": ("fsspec", "aiohttp"),
    "fsspec": ("aiohttp; extra == 'http'",),
    "aiohttp": ("yarl",),
    "yarl": (),
    "sqltrie": (),
    "gitpython": (),
    "rich": (),
    "torch": ("fsspec", "sympy"),
    "sympy": (),
    "jupyter": (),
    "ray-decorator": ("rich", "dvc; extra == 'test'"),
    "app": ("torch", "dvc; extra == 'dev'"),
}
DVCS = {"dvc", "dvc-data", "dvc-s3", "s3fs", "aiohttp", "yarl", "sqltrie", "gitpython"}


def installed(**more: tuple[str, ...]) -> Installed:
    requires = {**REQUIRES, **more}
    pins = dict.fromkeys(name for name in requires if name not in ("ray-decorator", "app"))
    roots = graph.roots({name: requires[name] for name in pins})
    local = (Local("app", "1", True, None, ()),)
    return Installed(
        dict.fromkeys(pins, "1.0"), local, roots, requires, {"fsspec": ("http",), "app": ("dev",)}
    )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delitem(sys.modules, "dvc", raising=False)  # other tests have imported it
    return tmp_path


def left_out(project: Path, pyproject: str, found: Installed | None = None) -> frozenset[str]:
    (project / "pyproject.toml").write_text(pyproject)
    return needed(found or installed(), project).left_out


@pytest.mark.parametrize(
    "pyproject",
    [
        "[project]\nname = 'app'\ndependencies = ['torch>=1']",
        "[project]\ndependencies = ['torch']\n[project.optional-dependencies]\npipeline = ['dvc[s3]']",
        "[project]\n[dependency-groups]\ndev = ['dvc', {include-group = 'docs'}]\ndocs = ['sphinx']",
        "[tool.uv]\ndev-dependencies = ['dvc>=3']",
        "[tool.poetry.dependencies]\npython = '^3.11'\ntorch = '*'",
        "[tool.poetry.dependencies]\ntorch = '*'\n[tool.poetry.group.dev.dependencies]\ndvc = {version = '*'}",
    ],
)
def test_what_only_dvc_needs_stays_where_the_project_does_not_ask_for_dvc(
    project: Path, pyproject: str
) -> None:
    assert left_out(project, pyproject) == DVCS


@pytest.mark.parametrize(
    "pyproject",
    [
        None,
        "[project]\nname = 'app'\ndynamic = ['dependencies']",
        "[tool.ruff]\nline-length = 100",
        "no toml",
        "[project]\ndependencies = ['torch', 'dvc']",
        "[project]\ndependencies = ['dvc-s3']",
        "[tool.poetry.dependencies]\ndvc = {version = '*', extras = ['s3']}",
    ],
)
def test_all_travel_where_it_asks_for_it_or_does_not_tell(project: Path, pyproject: str | None) -> None:
    if pyproject is not None:
        assert left_out(project, pyproject) == frozenset()
    assert needed(installed(), project).left_out == frozenset()
    assert needed(installed(), None).why == ""


def test_what_the_app_needs_of_it_travels(project: Path) -> None:
    http = "[project]\ndependencies = ['fsspec[http]']"
    assert left_out(project, http) == DVCS - {"aiohttp", "yarl"}
    group = "[dependency-groups]\ndev = ['dvc']\ncloud = ['s3fs']"
    assert left_out(project, group) == DVCS - {"s3fs", "aiohttp", "yarl"}
    by_hand = installed(dvclive=("dvc",))  # named nowhere, and it may well be the app's
    assert left_out(project, "[dependency-groups]\ndev = ['dvc']", by_hand) == frozenset()


def test_an_app_that_has_imported_dvc_has_it_in_jobs_too(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dvc", sys)
    assert left_out(project, "[dependency-groups]\ndev = ['dvc']") == frozenset()


def test_the_user_can_choose(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    (project / "pyproject.toml").write_text("[dependency-groups]\ndev = ['dvc']")
    found = installed()
    assert needed(found, project, exclude=()).left_out == frozenset()
    only = needed(found, project, only=["Torch"])
    assert set(only.requirements.pins) == {"torch", "fsspec", "sympy", "rich"}
    assert only.requirements.roots == ("rich", "torch") and only.why == "packages says so"
    assert needed(found, project, exclude=["torch", "rich"]).left_out == {"torch", "sympy"}  # we need rich
    both = needed(found, project, only=["torch", "jupyter"], exclude=["sympy"])
    assert set(both.requirements.pins) == {"torch", "fsspec", "jupyter", "rich"}
    with pytest.raises(
        InputError, match=r"packages.only names torhc, which is not installed here: install it"
    ):
        needed(found, project, only=["torhc"])
    with caplog.at_level(logging.WARNING):
        assert needed(found, project, exclude=["torhc"]).left_out == frozenset()
    assert "packages.exclude names torhc, which is not installed here" in caplog.text


def test_of_these_tests_own_packages_dvcs_stay(project: Path) -> None:
    (project / "pyproject.toml").write_text("[project]\ndependencies = ['hydra-core']")
    here = installed_distributions()
    pins = {name: pin for name, pin in here.pins.items() if name != "dvclive"}  # which needs DVC
    roots = graph.roots({name: here.requires[name] for name in pins})
    chosen = needed(replace(here, pins=pins, roots=roots), project)
    assert {"dvc", "dvc-data", "dvc-objects", "pygit2", "sqltrie"} <= chosen.left_out
    assert {
        "ray",
        "hydra-core",
        "obstore",
        "cloudpickle",
        "moto",
        "pathspec",
    } <= chosen.requirements.pins.keys()
    assert chosen.why == "only DVC needs it, and pyproject.toml does not ask for DVC"


UV_PROJECT = """
[project]
name = 'app'
version = '0'
requires-python = '>=3.11'
dependencies = ['alpha[fast]>=1', "gamma; sys_platform == 'win32'", "delta; python_version >= '3.11'"]
[project.optional-dependencies]
plot = ['plotty']
[dependency-groups]
dev = ['linter', {include-group = 'docs'}]
docs = ['sphinks']
pipeline = ['dvc']
[tool.uv]
package = false
override-dependencies = ["omitted; sys_platform == 'win32'"]
"""


def test_the_packages_are_those_of_uvs_lock(tmp_path: Path) -> None:
    """A real project of uv's, with extras, markers, groups and an override, locked and installed from an index."""
    wheels = tmp_path / "wheels"
    for name, *requires in (
        ("alpha", "beta", "omitted", "epsilon; extra == 'fast'\nProvides-Extra: fast"),
        ("dvc", "dvc_data", "beta", "gamma", "epsilon"),
        ("dvc_data", "zeta", "alpha"),
        *[
            (name,)
            for name in (
                "beta",
                "gamma",
                "delta",
                "epsilon",
                "zeta",
                "plotty",
                "linter",
                "sphinks",
                "omitted",
            )
        ],
    ):
        make_wheel(wheels, name, "1.0", tuple(requires))
    project = tmp_path / "app"
    project.mkdir()
    (project / "pyproject.toml").write_text(UV_PROJECT)
    with contextlib.contextmanager(serve)(Index(wheels)) as server:
        keep = {
            name: value for name, value in os.environ.items() if not name.startswith(("UV_", "VIRTUAL_ENV"))
        }
        environ = {**keep, "UV_DEFAULT_INDEX": server.url, "UV_CACHE_DIR": str(tmp_path / "uv")}

        def run(*command: str | Path) -> str:
            return subprocess.run(
                command, cwd=project, env=environ, check=True, capture_output=True, text=True
            ).stdout

        run("uv", "sync", "--quiet", "--all-extras", "--all-groups", "--python", sys.executable)
        export = (
            "uv",
            "export",
            "--frozen",
            "--no-hashes",
            "--no-annotate",
            "--no-header",
            "--all-extras",
            "--all-groups",
        )
        locked, all_locked = run(*export, "--no-group", "pipeline"), run(*export)
    code = (
        "from pathlib import Path\nfrom ray_decorator.environment import installed, needed\n"
        "one = needed.needed(installed.installed_distributions(), Path())\n"
        "print(sorted(one.requirements.pins), sorted(one.left_out), sep='\\n')"
    )
    environ["PYTHONPATH"] = python_path()
    pins, left = run(project / ".venv/bin/python", "-c", code).splitlines()

    def listed(export: str) -> list[str]:
        here = [line for line in export.splitlines() if "win32" not in line]
        return sorted(line.partition("==")[0] for line in here)

    assert (
        pins
        == str(listed(locked))
        == str(["alpha", "beta", "delta", "epsilon", "linter", "plotty", "sphinks"])
    )
    assert (
        left
        == str(sorted({*listed(all_locked)} - {*listed(locked)}))
        == str(["dvc", "dvc-data", "gamma", "zeta"])
    )
