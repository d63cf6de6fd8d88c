"""A stage of a `dvc.yaml` whose command runs on Ray, under the real dvc."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from dvc_repositories import dvc

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


@pytest.mark.usefixtures("ray_session_address")
def test_what_dvcignore_names_is_neither_sent_nor_seen(repository: Path, tmp_path: Path) -> None:
    (repository / "data/c.txt").write_text("SECRET")
    (repository / "data/sub").mkdir()
    (repository / "data/sub/d.tmp").write_text("SECRET too")
    (repository / ".dvcignore").write_text("*.tmp\n/data/c.txt\n")
    dvc(repository, "repro")
    assert (repository / "model.pkl").read_text() == "ALPHA BETA"
    stored = [path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert not [data for data in stored if b"SECRET" in data]
