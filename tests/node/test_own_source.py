"""This project's own source, as nodes get it."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

from ray_decorator.node.own_source import zipped_source


def test_a_node_can_run_from_it_what_it_runs_before_packages_are_there(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(zipped_source())) as archive:
        archive.extractall(tmp_path)
    assert (tmp_path / "hydra_plugins/hydra_ray_s3_launcher/config.py").exists()
    assert not (tmp_path / "hydra_plugins/__init__.py").exists()
    modules = [
        "ray_decorator.node.supervisor",
        "ray_decorator.node.messages",
        "ray_decorator.environment.build",
    ]
    program = f"import sys; sys.path[:0] = ['.']\nimport {', '.join(modules)}, ray_decorator.core\n"
    program += "print(ray_decorator.core.__path__[0])"
    bare = [sys.executable, "-I", "-S", "-c", program]  # the standard library alone
    done = subprocess.run(bare, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).resolve() == tmp_path / "ray_decorator/core"


def test_the_same_source_makes_the_same_bytes() -> None:
    assert zipped_source.__wrapped__() == zipped_source()
