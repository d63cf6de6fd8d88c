"""A user's project and virtual environment, to drive a cluster that shares nothing with them."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import requires, version
from pathlib import Path

import cluster_bed
import servers
import warm_python
from packaging.requirements import Requirement

FILES = {
    "pyproject.toml": '[project]\nname = "shop"\nversion = "0.3"\n',
    ".gitignore": "big/\n*.log\ndata/\n",
    ".env": "PASSWORD=hunter2\n",
    "conf/config.yaml": """\
data: {path: data/in}
out: ${hydra:runtime.output_dir}/result.txt
x: 1
model: {_target_: shop.models.Model, factor: 10}
scale: {_target_: __main__.Scale, by: 2}
""",
    "src/shop/__init__.py": "",
    "src/shop/models.py": """\
import os
from dataclasses import dataclass, field

@dataclass
class Model:
    factor: int
    made_by: int = field(default_factory=os.getpid)
""",
    "src/shop/lazy.py": """\
from pathlib import Path

WORDS = (Path(__file__).parent / "words.txt").read_text().split()
""",
    "src/shop/words.txt": "alpha beta gamma\n",
    "train.py": """\
import json, os, socket, sys
from pathlib import Path

import hydra
from hydra.utils import get_original_cwd, instantiate, to_absolute_path

sys.path.insert(0, str(Path(__file__).parent / "src"))


class Scale:
    def __init__(self, by):
        self.by = by


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    import shop.lazy

    model, scale = instantiate(cfg.model), instantiate(cfg.scale)
    told = {
        "value": cfg.x * model.factor * scale.by,
        "words": shop.lazy.WORDS,
        "read": Path(cfg.data.path, "a.txt").read_text(),
        "readme": Path(to_absolute_path("conf/config.yaml")).exists(),
        "there": sorted(os.listdir(get_original_cwd())),
        "host": socket.gethostname(),
        "here": model.made_by == os.getpid(),
        "prefix": sys.prefix,
    }
    Path(cfg.out).write_text(json.dumps(told))
    print("trained", cfg.x)
    return told["value"]


if __name__ == "__main__":
    main()
""",
    "data/in/a.txt": "the data",
    "big/ignored.bin": "0" * 100_000,
}

NESTED = """\
import hydra
from shop.squares import square

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    import ray

    remote = ray.remote(num_cpus=1)(square)
    return sum(ray.get([remote.remote(n) for n in range(4)]))

if __name__ == "__main__":
    main()
"""

FATES = """\
import os, time
from pathlib import Path

import hydra
import ray_decorator
from hydra.core.hydra_config import HydraConfig

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    Path(HydraConfig.get().runtime.output_dir, "left.txt").write_text("was here")
    if cfg.fate == "mortal":  # each attempt goes on with what the last one has saved
        step, attempt = Path(cfg.model, "step.txt"), os.environ["RAY_S3_ATTEMPT"]
        step.write_text(step.read_text() + f", attempt {attempt}")
        if attempt == "1":
            ray_decorator.checkpoint()
            (step.parent / "torn.txt").write_text("never saved")
    print("fate:", cfg.fate, flush=True)
    if cfg.fate == "sleeps" or (cfg.fate == "mortal" and os.environ["RAY_S3_ATTEMPT"] == "1"):
        time.sleep(300)
    return cfg.fate

if __name__ == "__main__":
    main()
"""


@dataclass(frozen=True)
class Driver:
    """A project on the disk, and how its user calls Python there."""

    project: Path
    python: Path
    environ: Mapping[str, str]

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """``python arguments…`` in the project; output and errors are in ``stdout``, in their order."""
        given = {**self.environ, **environ}
        return subprocess.run(
            [*warm_python.starter(given, str(self.python)), *arguments],
            cwd=self.project,
            env=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )


def write(directory: Path, files: Mapping[str, str] = FILES) -> Path:
    """The project's files below ``directory``."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def environment(bed: cluster_bed.Bed, server: servers.Server, home: Path, prefix: str) -> dict[str, str]:
    """A driver's environment: nothing of this machine's own but PATH and where packages come from."""
    home.mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if k == "PATH" or k.startswith(("PIP_", "UV_", "SSL_CERT"))}
    return {
        **kept,
        **server.environment(),
        **bed.environment(),
        "HOME": str(home),
        "AWS_EC2_METADATA_DISABLED": "true",
        "RAY_ADDRESS": bed.address,
        "RAY_S3_BASE_PATH": f"s3://{servers.BUCKET}/{prefix}",
        "PYTHONUNBUFFERED": "1",
        "RAY_DEDUP_LOGS": "0",  # as connection.py has it, before a warm Python imports Ray
    }


@functools.cache
def venv() -> Path:
    """A virtual environment as a user makes it: this project and what it needs, no more."""
    wanted = [Requirement(text) for text in requires("ray-decorator") or []]
    pinned = [f"{r.name}{_extras(r)}=={_version(r.name)}" for r in wanted if r.marker is None]
    ours = ["--no-deps", "--editable", str(cluster_bed.REPO)]
    return cluster_bed.made_venv("driver", sys.executable, [pinned, ours])


def _extras(requirement: Requirement) -> str:
    return f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""


def _version(name: str) -> str:
    return cluster_bed.RAY if name == "ray" else version(name)
