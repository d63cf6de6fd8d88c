"""What of a project is code, on a cluster that sees none of the driver's files."""

from __future__ import annotations

import uuid
from pathlib import Path

import cluster_bed
import far_project
import pytest
import servers

SCRIPT = """
import os
from pathlib import Path

import hydra
from hydra.utils import get_original_cwd, instantiate


@hydra.main(version_base=None, config_path=None)
def main(cfg):
    from shop.models import Model

    start = Path(get_original_cwd())
    print("code:", *sorted(str(path.relative_to(start)) for path in start.rglob("*") if path.is_file()))
    if cfg.get("out"):
        Path(cfg.out).mkdir(parents=True)
        Path(cfg.out, "model.txt").write_text("weights")
        if cfg.out.endswith("bad"):
            raise ValueError("written, and then")
        return None
    return instantiate({"_target_": "shop.gen.Made", "by": 3}).by


if __name__ == "__main__":
    main()
"""
FILES = {
    "pyproject.toml": '[project]\nname = "shop"\n',
    ".gitignore": "*.log\ngen.py\nmultirun/\n",
    ".env": "PASSWORD=hunter2\n",
    "shop/__init__.py": "",
    "shop/models.py": "class Model: ...\n",
    "shop/gen.py": "class Made:\n    def __init__(self, by):\n        self.by = by\n",
    "made.py": SCRIPT,
}
LAUNCH = ("made.py", "hydra/launcher=ray_s3", "hydra.run.dir=run", "hydra.sweep.dir=swept")

CODE = [".gitignore", "made.py", "pyproject.toml", "shop/__init__.py", "shop/models.py"]


def code_of(output: str) -> list[str]:
    [line] = [line for line in output.splitlines() if " code: " in line]
    return line.partition(" code: ")[2].split()


@pytest.fixture
def driver(tmp_path: Path, bed: cluster_bed.Bed, rclone: servers.Server) -> far_project.Driver:
    environ = far_project.environment(bed, rclone, tmp_path / "home", uuid.uuid4().hex)
    project = far_project.write(tmp_path / "project", FILES)
    return far_project.Driver(project, far_project.venv() / "bin" / "python", environ)


def test_a_module_that_git_ignores_is_named_with_what_sends_it(driver: far_project.Driver) -> None:
    said = (
        f"Module 'shop.gen' is at home, and did not travel: {driver.project}/shop/gen.py "
        f"({driver.project}/.gitignore 'gen.py' ignores it). Send it with code_include: ['/shop/gen.py']"
    )
    swept = driver.run(*LAUNCH, "+x=1,2")
    assert swept.returncode == 1
    assert "as secrets: 1 file; `ray-s3 doctor` names them" in swept.stdout
    assert f"#0 +x=1: {said}" in swept.stdout and f"#1 +x=2: {said}" in swept.stdout, swept.stdout

    sent = driver.run(*LAUNCH, "hydra.launcher.code_include=[/shop/gen.py,.env,/nothing.py]")
    assert sent.returncode == 0, sent.stdout
    assert "code_include: '/nothing.py' matches no file below" in sent.stdout
    assert code_of(sent.stdout) == [".env", *CODE[:4], "shop/gen.py", *CODE[4:]]


def test_what_an_earlier_run_brought_home_is_no_code(driver: far_project.Driver) -> None:
    """Its outs, its jobs' directories, and in one of these what a job had written before it failed."""
    sweep = ("made.py", "-m", *LAUNCH[1:], "hydra.launcher.outs=[out]", "hydra.output_subdir=null")
    (driver.project / ".gitignore").write_text("gen.py\n")
    done = driver.run(*sweep, "+out=models/0,models/bad", "hydra.sweep.dir=runs")
    assert done.returncode == 1 and "ValueError: written, and then" in done.stdout, done.stdout
    assert {tuple(code_of(line)) for line in done.stdout.splitlines() if " code: " in line} == {tuple(CODE)}
    assert (driver.project / "models/0/model.txt").read_text() == "weights"
    assert (driver.project / "runs/0/made.log").exists()
    assert (driver.project / "runs/1/failed/out/bad/model.txt").read_text() == "weights"
    done = driver.run(*sweep, "+out=models/1", "hydra.sweep.dir=more")
    assert done.returncode == 0, done.stdout
    assert (driver.project / "models/1/model.txt").read_text() == "weights"
    assert code_of(done.stdout) == CODE, done.stdout


BY_PATH = """
import importlib.util, sys
from pathlib import Path

import hydra
from hydra.utils import instantiate

spec = importlib.util.spec_from_file_location("settings_of_mine", Path(__file__).with_name("by-path") / "set.py")
settings = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(settings)
from settings_of_mine import Made


@hydra.main(version_base=None, config_path=None)
def main(cfg):
    made = instantiate({"_target_": "settings_of_mine.Made"})
    print("told:", settings.BESIDE, type(made) is Made, Path(settings.__file__).name)
    return made


if __name__ == "__main__":
    main()
"""


def test_a_module_that_the_script_has_loaded_by_its_path(driver: far_project.Driver) -> None:
    (driver.project / "by_path.py").write_text(BY_PATH)
    (driver.project / "by-path").mkdir()
    (driver.project / "by-path/beside.txt").write_text("beside")
    source = "from pathlib import Path\nBESIDE = Path(__file__).with_name('beside.txt').read_text()\n"
    (driver.project / "by-path/set.py").write_text(f"{source}class Made: ...\n")
    for launcher in ("basic", "ray_s3"):
        done = driver.run("by_path.py", f"hydra/launcher={launcher}")
        assert done.returncode == 0 and "told: beside True set.py" in done.stdout, done.stdout


ROOTED = """
import os
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parent
OmegaConf.register_new_resolver("root", lambda: ROOT)
CONF = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shop")


class Words:
    folder = ROOT / "words"

    def read(self, conf=CONF):
        assert os.path.isdir(conf)
        return (self.folder / "a.txt").read_text()


@dataclass
class Config:
    words: str = "${root:}/words"
    folder: Path = ROOT / "words"


ConfigStore.instance().store("config", Config)


@hydra.main(version_base=None, config_path=None, config_name="config")
def main(cfg):
    assert os.path.isdir(cfg.words) and Config.folder.is_dir() and Config().folder.is_dir()
    print("told:", Words().read(), os.path.exists(f"{CONF}/models.py"), Path(__file__).resolve().parent == ROOT)


if __name__ == "__main__":
    main()
"""


def test_a_scripts_own_globals_lead_to_its_code(driver: far_project.Driver) -> None:
    (driver.project / "rooted.py").write_text(ROOTED)
    (driver.project / "words").mkdir()
    (driver.project / "words/a.txt").write_text("alpha")
    for launcher in ("basic", "ray_s3"):
        done = driver.run("rooted.py", f"hydra/launcher={launcher}")
        assert done.returncode == 0 and "told: alpha True True" in done.stdout, done.stdout
