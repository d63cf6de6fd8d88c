"""What a job leaves and finds beside plain files, by way of S3 and a node that sees none of the driver's files."""

from __future__ import annotations

import uuid
from pathlib import Path

import cluster_bed
import far_project
import servers
import whole_trees
from whole_trees import TREES, build, described

SCRIPT = """
import tempfile
from pathlib import Path

import hydra

from whole_trees import TREES, build, described


@hydra.main(version_base=None, config_path=None)
def main(cfg):
    own = Path(tempfile.mkdtemp())
    for name, tree in TREES.items():
        if "made" in cfg:
            build(Path(cfg.made, name), tree)
        elif described(Path(cfg.read, name)) != described(build(own / name, tree)):
            raise ValueError(f"{name}: {described(Path(cfg.read, name))}")


if __name__ == "__main__":
    main()
"""
FILES = {
    "pyproject.toml": '[project]\nname = "trees"\n',
    "whole_trees.py": Path(whole_trees.__file__).read_text(),
    "trees.py": SCRIPT,
}


def test_trees_are_the_same_there_and_at_home(
    tmp_path: Path, bed: cluster_bed.Bed, rclone: servers.Server
) -> None:
    environ = far_project.environment(bed, rclone, tmp_path / "home", uuid.uuid4().hex)
    project = far_project.write(tmp_path / "project", FILES)
    driver = far_project.Driver(project, far_project.venv() / "bin" / "python", environ)
    launch = ("trees.py", "hydra/launcher=ray_s3")
    made = driver.run(*launch, "hydra.launcher.outs=[made]", "+made=trees")
    assert made.returncode == 0, made.stdout
    for name, tree in TREES.items():
        assert described(project / "trees" / name) == described(build(tmp_path / "local" / name, tree)), name
    read = driver.run(*launch, "hydra.launcher.deps=[read]", "+read=trees")
    assert read.returncode == 0, read.stdout
