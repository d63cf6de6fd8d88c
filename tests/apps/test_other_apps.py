"""Apps that do not choose our launcher: the same output and files with this package and without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import warm_python

PLUGIN = Path("hydra_plugins", "hydra_ray_s3_launcher")

TASK = """
    def task(cfg):
        print("TASK", HydraConfig.get().mode, HydraConfig.get().launcher._target_.rsplit(".", 1)[-1], cfg, flush=True)
"""

STARTS = """
    if __name__ == "__main__":
        hydra.main(version_base={base!r}, config_path="conf", config_name={name!r})(task)()
"""

HEAD = """
    import hydra
    from hydra.conf import HydraConf
    from hydra.core.config_store import ConfigStore
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
"""

STORED = 'ConfigStore.instance().store(group="hydra", name="config", node={node})'
SUBCLASS = """
    from dataclasses import dataclass
    @dataclass
    class Mine(HydraConf):
        mode: RunMode = RunMode.MULTIRUN
        verbose: bool = False
        more: int = 3
"""
ZEN = """
    from hydra_zen import ZenStore
    mine = ZenStore(overwrite_ok=True)
    mine(HydraConf(mode=RunMode.MULTIRUN))
    mine.add_to_hydra_store()
"""
LATE = "from hydra.core.plugins import Plugins; Plugins.instance()"
OWN_DEFAULTS = (
    'HydraConf(defaults=[{"output": "default"}, {"launcher": "joblib"}, {"sweeper": "basic"}, {"help": '
    '"default"}, {"hydra_help": "default"}, {"hydra_logging": "disabled"}, {"job_logging": "default"}, '
    '{"callbacks": None}, {"env": "default"}, "_self_"])'
)
COMPOSES = """
    from hydra import compose, initialize
    from omegaconf import OmegaConf
    every = [[], ["+exp=run"], ["hydra/launcher=joblib"], ["hydra.mode=RUN"]]
    for base, chosen in {None: every[:1], "1.1": every[1:], "1.2": every[2:3], "1.3": every}.items():
        with initialize(config_path="conf", version_base=base):
            for overrides in chosen:
                print(OmegaConf.to_yaml(compose("config", overrides, return_hydra_config=True)))
"""

# What is composed for Hydra itself shows in what a run leaves (.hydra/hydra.yaml), as by --cfg.
CONF = {
    "config.yaml": "{x: 0}",
    "swept.yaml": "{x: 0, hydra: {mode: MULTIRUN}}",
    "exp/multirun.yaml": "# @package _global_\nhydra: {mode: MULTIRUN}\n",
    "exp/run.yaml": "# @package _global_\nhydra: {mode: RUN}\n",
}


def app(setup: str = "", *, base: str | None = "1.3", name: str = "config") -> str:
    parts = (HEAD, setup, TASK, STARTS.format(base=base, name=name))
    return "\n".join(textwrap.dedent(part) for part in parts)


APPS = {
    "plain": (app(), ["", "-m x=1,2", "--cfg all", "hydra/launcher=joblib"]),
    "modes": (app(), ["hydra.mode=MULTIRUN x=1", "+exp=multirun x=1", "+exp=run", "+exp=multirun hydra.mode=RUN"]),
    "sweeper": (app(), ["hydra/sweeper=optuna --cfg hydra", "-m hydra/launcher=joblib x=1"]),
    "help": (app(), ["--help"]),
    "old base": (app(base=None), ["", "-m x=1"]),
    "stored": (app(STORED.format(node="HydraConf(mode=RunMode.MULTIRUN)")), ["x=1,2", "y=1"]),
    "stored run": (app(STORED.format(node="HydraConf(mode=RunMode.RUN)")), ["", "-m x=1"]),
    "stored without": (app(STORED.format(node="HydraConf")), ["", "-m x=1"]),
    "own defaults": (app(STORED.format(node=OWN_DEFAULTS)), ["", "-m x=1 hydra.launcher.n_jobs=1"]),
    "subclass": (app(SUBCLASS + "    " + STORED.format(node="Mine")), ["x=1"]),
    "hydra-zen": (app(ZEN), ["x=1"]),
    "late": (app(LATE + "\n" + STORED.format(node="HydraConf()")), [""]),
    "primary": (app(name="swept"), ["x=1", "hydra.mode=RUN"]),
    "composed": (textwrap.dedent(COMPOSES), [""]),
}  # fmt: skip


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python that has all that this one has, but for the plugin."""
    directory = tmp_path_factory.mktemp("without")
    instead = {}
    for number, entry in enumerate(sys.path):
        if (Path(entry) / PLUGIN).is_dir():
            view = instead[entry] = str(directory / str(number))
            for kept in [*Path(entry).iterdir(), *Path(entry, PLUGIN.parent).iterdir()]:
                link = view / kept.relative_to(entry)
                if kept.name not in PLUGIN.parts:
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(kept)
    assert instead
    swap = f"import sys\nsys.path[:] = [{instead!r}.get(entry, entry) for entry in sys.path]\n"
    (directory / "sitecustomize.py").write_text(swap)
    return {**os.environ, "PYTHONPATH": str(directory)}


def ran(directory: Path, source: str, line: str, environ: dict[str, str]) -> tuple[str, dict[str, str]]:
    """What the app prints, and the configs that it leaves."""
    for name, text in CONF.items():
        (directory / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / "conf" / name).write_text(text)
    (directory / "app.py").write_text(source)
    command = [*warm_python.starter(environ), "-W", "ignore", "app.py", *line.split()]
    if source.startswith("\nimport hydra") and "--" not in line:
        command += ["hydra.run.dir=run", "hydra.sweep.dir=swept"]
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, timeout=120)
    left = {str(path.relative_to(directory)): path for path in sorted(directory.rglob("*")) if path.is_file()}
    configs = {name: path.read_text() if name.endswith(".yaml") else "" for name, path in left.items()}
    shutil.rmtree(directory)
    printed = [text.split("][", 1)[-1] for text in done.stdout.splitlines()]  # without the time
    return "\n".join([str(done.returncode), *printed, done.stderr]), configs


@pytest.mark.parametrize("name", APPS)
def test_they_are_the_same_as_without_it(name: str, tmp_path: Path, without: dict[str, str]) -> None:
    source, command_lines = APPS[name]
    for line in command_lines:
        where = tmp_path / "app"
        ours, theirs = (ran(where, source, line, environ) for environ in (dict(os.environ), without))
        assert ours == theirs, line
        assert ours[0].startswith("1" if line == "y=1" else "0"), ours[0]
        assert "--" in line or len(theirs[1]) > 3 or name == "composed"


def test_the_other_python_does_not_have_it(tmp_path: Path, without: dict[str, str]) -> None:
    code = "from hydra.core.plugins import Plugins; print(*[each.__name__ for each in Plugins.instance().discover()])"
    here, there = (
        subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60
        ).stdout.split()
        for environ in (dict(os.environ), without)
    )  # fmt: skip
    assert set(here) - set(there) == {"RayS3Launcher", "OneJob", "ModeOfTheLauncher"}
    assert "JoblibLauncher" in there
