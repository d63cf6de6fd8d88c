"""What a node's Python has and lacks: real environments, filled by uv."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from package_index import Node

from ray_decorator.core.values.bundles import Requirements
from ray_decorator.environment import inventory


def test_a_survey_tells_what_a_node_has(node: Node) -> None:
    found = node.ask("print(json.dumps(inventory.survey()))")
    assert found["python"] == list(sys.version_info[:3])
    assert found["executable"] == str(node.python)
    assert found["distributions"] == {"alpha": "1.0", "beta": "1.0"}
    assert found["uv"] == shutil.which("uv")


def test_what_is_lacking_is_compared_by_normalised_name_and_by_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    for info in (
        "Ruamel_Yaml-1.0.dist-info",
        "old-2.0-py3.11.egg-info",
        "~gone-1.0.dist-info",
        "half-1.0.dist-info",
    ):
        (site / info).mkdir(parents=True)
    (site / "Ruamel_Yaml-1.0.dist-info/METADATA").touch()
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    pins = {"ruamel-yaml": "1.0.0", "old": "2.1", "gone": "1.0", "half": "1.0"}
    wanted = Requirements((3, 11), inventory.platform_name(), pins, tuple(pins), {})
    assert inventory.distributions([str(site)]) == {"ruamel-yaml": "1.0", "old": "2.0"}
    assert inventory.lacking(wanted) == {"old": "2.1", "gone": "1.0", "half": "1.0"}


@pytest.mark.app
def test_what_jobs_need_is_what_the_nodes_side_imports(node: Node) -> None:
    def lacks(*names: str, module: str) -> list[str]:
        pins = [f"{name}=={metadata.version(name)}" for name in names]
        environ = {k: v for k, v in os.environ.items() if k != "XDG_CACHE_HOME"}  # uv's cache is the user's
        install = ["uv", "pip", "install", "-q", "--python", str(node.python), *pins]
        subprocess.run(install, check=True, env=environ)
        found: list[str] = node.ask(f"import {module}; print(json.dumps(list(inventory.absent())))")
        return found

    runner = lacks("cloudpickle", "obstore", "omegaconf", module="ray_decorator.node.runner")
    assert runner == ["hydra-core", "pathspec", "boto3"]
    assert lacks("pathspec", module="ray_decorator.frontends.decorator") == ["hydra-core", "boto3"]
    assert lacks("hydra-core", module="hydra_plugins.hydra_ray_s3_launcher._task") == ["boto3"]


@pytest.mark.parametrize(
    ("driver", "node_has", "same"),
    [
        ("1.0", "1.0.0", True),
        ("2024.08.01", "2024.8.1", True),
        ("1.0rc1", "1.0-RC1", True),
        ("1.0c1", "1.0rc1", True),
        ("1.0.post1", "1.0-1", True),
        ("2.5.1+ubuntu-1", "2.5.1+ubuntu.1", True),
        ("2004d", "2004d", True),  # older than PEP 440, which knows no such version
        ("2004d", "2004e", False),
        ("2004", "2004d", False),
        ("1!1.0", "1.0", False),
        ("1.0", "1.0.post1", False),
        ("2.5.1+cpu", "2.5.1", False),
        ("2.5.1+cpu", "2.5.1+cu121", False),
        ("10", "1", False),
        ("@ https://example.org/a-1-py3-none-any.whl", "1", True),
    ],
)
def test_versions_that_mean_the_same(driver: str, node_has: str, same: bool) -> None:
    assert inventory._has({"a": node_has}, "a", driver) is same
