"""What a driver has installed, and where it came from: real environments, filled by uv and by hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from package_index import REPOSITORY, Index, Node, make_venv, make_wheel, python_path, serve

from ray_decorator.environment import installed
from ray_decorator.environment.inventory import platform_name

_SHOW = """
import json, pathlib
from ray_decorator.environment import installed
found, asked = installed.installed_distributions(), installed.requirements(None)
local = {
    each.name: {
        "version": each.version,
        "editable": each.editable,
        "source": str(each.source),
        "files": {name: str(path) for name, path in each.files},
        "packages": {name: str(path) for name, path in each.packages.items()},
    }
    for each in found.local
}
print(json.dumps({"pins": dict(found.pins), "local": local, "roots": asked.roots, "asked": dict(asked.pins),
                  "python": asked.python, "platform": asked.platform}))
"""


class Driver:
    """A driver's environment; it sees the repository as a checkout on PYTHONPATH."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.python = make_venv(root / "driver")
        (self.site,) = (root / "driver").glob("lib/python*/site-packages")

    def install(self, *what: str | Path, **environ: str) -> None:
        command = ["uv", "pip", "install", "-q", "--python", self.python, *what]
        subprocess.run(command, env={**os.environ, **environ}, check=True)

    def write(self, name: str, version: str, *requires: str, **files: str) -> Path:
        """A distribution's metadata by hand."""
        info = self.site / f"{name}-{version}.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}\nText"
        )
        for file, text in files.items():
            (info / file.replace("_json", ".json")).write_text(text)
        return info

    def show(self, cwd: Path | None = None, path: tuple[Path, ...] = ()) -> dict[str, Any]:
        done = subprocess.run(
            [self.python, "-c", _SHOW],
            env={"PATH": "/nowhere", "PYTHONPATH": python_path(*path), "HOME": str(self.root)},
            cwd=cwd or self.root,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        shown: dict[str, Any] = json.loads(done.stdout)
        return shown


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    return Driver(tmp_path)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "alpha", "2.0", ("beta>=1", "gamma; extra == 'more'"))
    make_wheel(wheels, "beta", "1.0")
    make_wheel(wheels, "gamma", "1.0")
    yield from serve(Index(wheels))


def make_project(directory: Path, name: str) -> Path:
    """A project that setuptools builds: a package that does not lie where its name says, and a module."""
    directory.mkdir(parents=True)
    (directory / "pyproject.toml").write_text(
        f"""
[build-system]
requires = ["setuptools>=68"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "0.1"
[project.entry-points.things]
one = "{name}:one"
[tool.setuptools]
packages = ["{name}"]
py-modules = ["{name}_alone"]
package-dir = {{{name} = "lib/inner"}}
"""
    )
    (directory / "lib" / "inner").mkdir(parents=True)
    (directory / "lib" / "inner" / "__init__.py").write_text("one = 1\n")
    (directory / f"{name}_alone.py").write_text("")
    return directory


def test_what_an_index_gave_is_a_pin(driver: Driver, index: Index) -> None:
    driver.install("alpha", "gamma", UV_DEFAULT_INDEX=index.url)
    shown = driver.show()
    assert shown["pins"] == shown["asked"] == {"alpha": "2.0", "beta": "1.0", "gamma": "1.0"}
    assert shown["local"] == {}
    assert shown["roots"] == ["alpha", "gamma"]  # gamma: only an extra requires it
    assert (shown["python"], shown["platform"]) == (list(sys.version_info[:2]), platform_name())


def test_what_a_marker_rules_out_here_is_not_required(driver: Driver) -> None:
    lines = {
        "alpha": "sys_platform == 'win32'",
        "beta": "extra == 'x' or extra == 'y'",
        "gamma": "python_version < '3'",
        "delta": "(sys_platform == 'win32' or python_version >= '3') and extra != 'x'",
        "epsilon": "sys_platform is old",  # no marker that PEP 508 knows
    }
    for name in lines:
        driver.write(name, "1.0")
    driver.write("zeta", "1.0")
    driver.write("top", "1.0", *(f"{n} >= 1 ; {marker}" for n, marker in lines.items()), "zeta (>1) and more")
    assert driver.show()["roots"] == ["alpha", "beta", "gamma", "top"]


def test_this_project_and_the_installers_are_left_out(driver: Driver) -> None:
    for name in ("ray_decorator", "pip", "uv", "wheel", "setuptools", "Ruamel.Yaml"):
        driver.write(name, "1.0")
    assert driver.show()["pins"] == {"setuptools": "1.0", "ruamel-yaml": "1.0"}


def test_a_wheel_from_this_machine_travels_as_its_files(driver: Driver, tmp_path: Path) -> None:
    driver.install(make_wheel(tmp_path / "mine", "delta", "1.0"))
    shown = driver.show()
    assert shown["pins"] == {}
    delta = shown["local"]["delta"]
    assert (delta["version"], delta["editable"], delta["source"]) == ("1.0", False, "None")
    assert delta["files"]["delta.py"] == str(driver.site / "delta.py")
    assert "delta-1.0.dist-info/METADATA" in delta["files"]
    assert not [name for name in delta["files"] if "__pycache__" in name or name.startswith("..")]


@pytest.mark.app
def test_a_directory_and_a_checkout_travel_as_their_files(driver: Driver, tmp_path: Path) -> None:
    checkout = make_project(tmp_path / "checkout", "fromgit")
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm1"],
    ):
        subprocess.run(["git", "-C", checkout, *command], check=True)
    driver.install(make_project(tmp_path / "directory", "fromdir"), f"git+file://{checkout}")
    shown = driver.show()
    assert shown["pins"] == {}
    for name in ("fromdir", "fromgit"):
        assert not shown["local"][name]["editable"]
        assert {f"{name}/__init__.py", f"{name}_alone.py"} <= set(shown["local"][name]["files"])


@pytest.mark.app
def test_an_editable_one_travels_as_code_and_takes_its_metadata_along(driver: Driver, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", "mine")
    driver.install("-e", project)
    mine = driver.show()["local"]["mine"]
    assert (mine["editable"], mine["source"]) == (True, str(project))
    assert mine["packages"] == {
        "mine": str(project / "lib/inner"),
        "mine_alone": str(project / "mine_alone.py"),
    }
    assert {"mine-0.1.dist-info/METADATA", "mine-0.1.dist-info/entry_points.txt"} <= set(mine["files"])
    assert all(name.startswith("mine-0.1.dist-info/") for name in mine["files"])
    # setuptools left metadata in the source tree, too: beside it, the installation is still the one
    assert list(project.glob("*.egg-info"))
    assert driver.show(path=(project,))["local"]["mine"] == mine


def test_a_source_tree_on_the_path_is_local(driver: Driver, tmp_path: Path) -> None:
    info = tmp_path / "tree" / "old_style.egg-info"
    info.mkdir(parents=True)
    (info / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: old_style\nVersion: 3.0\n")
    driver.write("old_style", "1.0")
    shown = driver.show(path=(tmp_path / "tree",))
    assert shown["pins"] == {}
    assert shown["local"]["old-style"]["source"] == str(tmp_path / "tree")
    assert shown["local"]["old-style"]["files"] == {"old_style.egg-info/PKG-INFO": str(info / "PKG-INFO")}


def test_what_a_package_carries_inside_is_its_own_matter(driver: Driver) -> None:
    inner = driver.site / "ray" / "thirdparty_files"
    make_dist = inner / "psutil-1.0.dist-info"
    make_dist.mkdir(parents=True)
    (make_dist / "METADATA").write_text("Name: psutil\nVersion: 1.0\n")
    shown = driver.show(path=(inner,))
    assert (shown["pins"], shown["local"]) == ({}, {})


def test_an_archive_from_a_url_is_a_pin_with_that_url(driver: Driver, index: Index) -> None:
    url = f"http://127.0.0.1:{index.port}/files/beta-1.0-py3-none-any.whl"
    driver.install(f"beta @ {url}")
    assert driver.show()["pins"] == {"beta": f"@ {url}"}


def test_conda_has_packages_from_an_index_and_machinery_of_its_own(driver: Driver) -> None:
    built = {"url": "file:///home/conda/feedstock_root/build_artifacts/numpy/work", "dir_info": {}}
    driver.write("numpy", "2.0", INSTALLER="conda\n", direct_url_json=json.dumps(built))
    driver.write("conda", "24.1", "boltons")
    driver.write("libmambapy", "1.5")
    gone = {"url": "file:///gone/delta-1.0-py3-none-any.whl", "archive_info": {}}
    driver.write("delta", "1.0", INSTALLER="pip\n", direct_url_json=json.dumps(gone))
    shown = driver.show()
    assert shown["pins"] == {"numpy": "2.0"}
    assert list(shown["local"]) == ["delta"]


def test_what_the_system_has_for_itself_is_left_out_unless_it_is_needed() -> None:
    def made(name: str, directory: str, *requires: str) -> installed._Distribution:
        where = Path(directory)
        return installed._Distribution(name, "1", requires, where / f"{name}-1.egg-info", where)

    system, user = "/usr/lib/python3/dist-packages", "/usr/local/lib/python3.11/dist-packages"
    found = [
        made("python-apt", system),
        made("markupsafe", system),
        made("jinja2", system, "markupsafe"),
        made("mine", user, "jinja2"),
    ]
    assert installed._unasked_for({each.name: each for each in found}) == {"python-apt"}


def test_the_requirements_of_150_distributions_take_less_than_300_ms(driver: Driver) -> None:
    for number in range(150):
        requires = [f"package{(number + step) % 150} >= 1" for step in range(30)]
        info = driver.write(f"package{number}", "1.0", *requires)
        with open(info / "METADATA", "a") as file:
            file.write("A long description.\n" * 2000)
    code = f"""
import time
from ray_decorator.environment import installed
started = time.perf_counter()
assert len(installed.requirements(installed.Path({str(REPOSITORY)!r})).pins) == 150
print(time.perf_counter() - started)
"""
    environ = {"PYTHONPATH": python_path(), "HOME": str(driver.root)}
    runs = [subprocess.check_output([driver.python, "-c", code], env=environ, cwd="/") for _ in range(3)]
    assert min(map(float, runs)) < 0.3


def test_a_node_is_given_what_the_driver_has(driver: Driver, index: Index, tmp_path: Path) -> None:
    driver.install("alpha", "gamma", UV_DEFAULT_INDEX=index.url)
    (tmp_path / "home").mkdir()
    node = Node(
        make_venv(tmp_path / "cluster", index.wheels / "beta-1.0-py3-none-any.whl"),
        tmp_path / "root",
        tmp_path / "home",
    )
    shown = driver.show()
    found = node.interpreter(
        {
            "python": tuple(shown["python"]),
            "platform": shown["platform"],
            "pins": shown["asked"],
            "indexes": {"UV_DEFAULT_INDEX": index.url},
        }
    )
    assert "building an environment with 2 packages" in found.stderr
    code = "import alpha, beta, gamma; print(alpha.version, beta.version, gamma.version)"
    assert subprocess.check_output([found.python, "-c", code], env={}).split() == [b"2.0", b"1.0", b"1.0"]


def test_uv_is_there_for_these_tests() -> None:
    assert shutil.which("uv"), "install uv (pip install 'ray-decorator[test]')"
