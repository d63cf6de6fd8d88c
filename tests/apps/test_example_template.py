"""The template example: a run with Hydra's basic launcher and one with ours leave the same tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cluster_bed
import far_project
import pytest
import servers
import warm_python
from omegaconf import OmegaConf

EXAMPLE = Path(__file__).parents[2] / "examples" / "template"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return Path(
        shutil.copytree(
            EXAMPLE, tmp_path / "template", ignore=shutil.ignore_patterns("logs", "__pycache__", ".hydra")
        )
    )


def ran(
    example: Path,
    launcher: str,
    *arguments: str,
    python: str = sys.executable,
    environ: Mapping[str, str] = os.environ,
) -> tuple[str, dict[str, Any]]:
    """What it prints, and the files that it leaves, without times and without what says which launcher runs jobs."""
    done = subprocess.run(
        [*warm_python.starter(environ, python), "src/train.py", *arguments],
        cwd=example,
        env={k: v for k, v in environ.items() if k != "PROJECT_ROOT"} | {"LAUNCHER": launcher},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    left = {str(path.relative_to(example)): path for path in (example / "logs").rglob("*") if path.is_file()}
    files = {name: comparable(name, path.read_text()) for name, path in left.items()}
    shutil.rmtree(example / "logs")
    return done.stdout, files


def comparable(name: str, text: str) -> Any:
    if not name.endswith(("hydra.yaml", "multirun.yaml")):
        return re.sub(r"^\[[-\d: ,]+\]", "", text, flags=re.MULTILINE)
    found: Any = OmegaConf.to_container(OmegaConf.create(text))
    hydra = found["hydra"]
    del hydra["launcher"]
    if name.endswith("multirun.yaml"):
        del hydra["mode"]
    hydra["callbacks"].pop("ray_s3_bare_run", None)
    hydra["job"]["id"] = None
    hydra["overrides"]["hydra"] = [each for each in hydra["overrides"]["hydra"] if "mode=" not in each]
    for choice in ("hydra/launcher", "hydra/callbacks/ray_s3_bare_run"):
        hydra["runtime"]["choices"].pop(choice, None)
    return found


@pytest.mark.usefixtures("ray_session_address")
@pytest.mark.parametrize(
    "arguments",
    [
        ["experiment=steep", "hydra.run.dir=${paths.log_dir}/here"],
        ["-m", "epochs=5,6", "hydra.sweep.dir=${paths.log_dir}/swept"],
    ],
    ids=["experiment", "sweep"],
)
def test_the_same_tree_whatever_launcher_the_variable_names(example: Path, arguments: list[str]) -> None:
    shown, basic = ran(example, "basic", *arguments)
    there, ours = ran(example, "ray", *arguments)
    assert ours == basic
    assert "on Ray (" in there and "on Ray (" not in shown
    assert "\033[33m" in shown and "\033[33m" in there  # logging in colour
    names = {Path(name).name for name in ours}
    assert names >= {"model.json", "notes.txt", "config.yaml", "hydra.yaml", "overrides.yaml"}
    assert any(name.endswith(".log") for name in names)


def test_the_same_tree_from_a_cluster_that_has_nothing_of_it(
    example: Path, bed: cluster_bed.Bed, rclone: servers.Server, tmp_path: Path
) -> None:
    environ = far_project.environment(bed, rclone, tmp_path / "home", "template")
    python = str(far_project.venv() / "bin" / "python")
    arguments = ["experiment=steep", "epochs=5", "hydra.run.dir=${paths.log_dir}/here"]
    _, basic = ran(example, "basic", *arguments, python=python, environ=environ)
    there, ours = ran(example, "ray", *arguments, python=python, environ=environ)
    assert ours == basic
    assert f"on Ray ({bed.address}" in there
