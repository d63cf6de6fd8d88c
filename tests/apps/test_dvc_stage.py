"""A stage of a `dvc.yaml` whose command runs on Ray, under the real dvc."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

APP = """
from pathlib import Path
import hydra


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    text = "".join(file.read_text() for file in sorted(Path(cfg.data.path).glob("*.txt")))
    Path(cfg.model.path).write_text(text.upper())


if __name__ == "__main__":
    main()
"""
FILES = {
    "train.py": APP,
    "data/a.txt": "alpha ",
    "data/b.txt": "beta",
    "conf/config.yaml": "data: {path: data}\nmodel: {path: model.pkl}\n",
    "conf/hydra/launcher/cluster.yaml": "defaults: [ray_s3]\ndeps: [data.path]\nouts: [model.path]\n",
    "dvc.yaml": "stages:\n  train:\n"
    f"    cmd: {sys.executable} train.py hydra/launcher=cluster hydra.sweep.dir=run\n"
    "    deps: [train.py, data]\n    outs: [model.pkl]\n",
}


def dvc(repository: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=repository,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    dvc(root, "init", "--no-scm", "--quiet")
    dvc(root, "remote", "add", "--default", "store", str(tmp_path / "store"))
    return root


@pytest.mark.usefixtures("ray_session_address")
def test_a_stage_runs_on_ray_and_shares_the_remote(repository: Path, tmp_path: Path) -> None:
    # RAY_S3_BASE_PATH is the very directory that is the DVC remote
    dvc(repository, "repro")
    assert (repository / "model.pkl").read_text() == "ALPHA BETA"
    assert "up to date" in dvc(repository, "status")
    # the data and the model have been there since the job ran
    pushed = dvc(repository, "push")
    assert "Everything is up to date" in pushed
    (repository / "data/b.txt").unlink()
    (repository / "data/b.txt").write_text("gamma")
    dvc(repository, "repro")
    assert (repository / "model.pkl").read_text() == "ALPHA GAMMA"
