"""Runs without ``-m``: beside the same run with Hydra's basic launcher, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

pytestmark = pytest.mark.usefixtures("ray_session_address")

APP = """
import json, os, sys
import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from pathlib import Path

class Notes(Callback):
    def on_run_start(self, config, **kwargs): self.note("run_start")
    def on_run_end(self, config, job_return, **kwargs): self.note(f"run_end {job_return.status.name}")
    def note(self, text):
        with open("notes", "a") as file:
            print(text, file=file)

@hydra.main(version_base="1.3", config_path=None, config_name="c")
def main(cfg):
    h = HydraConfig.get()
    seen = [h.mode.name, os.path.relpath(h.runtime.output_dir, h.runtime.cwd), cfg.x, "num" in h.job, len(sys.argv)]
    Path(h.runtime.output_dir, "seen.json").write_text(json.dumps(seen[:-1]))
    if cfg.fate == "raise":
        def deep():
            raise ValueError("a reason")
        deep()
    if cfg.fate != "ok":
        sys.exit({"three": 3, "zero": 0, "text": "a last word"}[cfg.fate])
    return cfg.x

if __name__ == "__main__":
    sweeps = {"sweeper": {"params": {"x": "1,2"}}, "callbacks": {"notes": {"_target_": "__main__.Notes"}}}
    ConfigStore.instance().store(name="c", node={"fate": "ok", "x": 7, "hydra": sweeps})
    main()
"""


@dataclass(frozen=True)
class Ran:
    code: int
    err: str
    files: dict[str, bytes]

    def seen(self, place: str) -> Any:
        return json.loads(self.files[f"{place}/seen.json"])


def run(directory: Path, launcher: str, *arguments: str, **environ: str) -> Ran:
    home = directory / launcher
    home.mkdir()
    (home / "app.py").write_text(APP)
    done = subprocess.run(
        [sys.executable, "app.py", *arguments, f"hydra/launcher={launcher}"],
        cwd=home, env={**os.environ, **environ}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    files = {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    return Ran(done.returncode, done.stderr, files)


def both(directory: Path, *arguments: str) -> tuple[Ran, Ran]:
    return run(directory, "basic", *arguments), run(directory, "ray_s3", *arguments)


def test_one_job_in_the_runs_own_directory_whatever_is_configured_for_sweeps(tmp_path: Path) -> None:
    basic, ours = both(tmp_path, "hydra.run.dir=here")
    assert ours.code == basic.code == 0, ours.err
    assert ours.seen("here") == basic.seen("here") == ["RUN", "here", 7, False]
    assert set(ours.files) - set(basic.files) == {"here/multirun.yaml"}
    assert set(basic.files) <= set(ours.files)
    for name in ("here/.hydra/config.yaml", "notes"):
        assert ours.files[name] == basic.files[name]
    configs = [OmegaConf.create(ran.files["here/.hydra/hydra.yaml"].decode()) for ran in (basic, ours)]
    for config in configs:  # what must differ, since it says which launcher runs the job
        del config.hydra.launcher, config.hydra.runtime, config.hydra.overrides, config.hydra.callbacks
    assert configs[0] == configs[1]


@pytest.mark.parametrize("fate", ["three", "zero", "text"])
def test_its_exit_code_is_the_jobs(tmp_path: Path, fate: str) -> None:
    basic, ours = both(tmp_path, f"fate={fate}", "hydra.run.dir=here")
    assert ours.code == basic.code == {"three": 3, "zero": 0, "text": 1}[fate], ours.err
    assert "Traceback" not in ours.err
    assert ("a last word" in ours.err) == (fate == "text")


def test_one_that_raises_prints_one_traceback_with_the_users_frames(tmp_path: Path) -> None:
    basic, ours = both(tmp_path, "fate=raise", "hydra.run.dir=here")
    assert ours.code == basic.code == 1
    assert ours.err.count("Traceback") == 1
    assert not any(part in ours.err for part in ("site-packages", "ray_decorator/", "hydra_plugins/"))
    ending = basic.err[basic.err.index("Traceback") :].strip()
    assert ending.replace("/basic/", "/ray_s3/") in ours.err
    assert len(ours.err.splitlines()) <= len(basic.err.splitlines()) + 10
    assert ours.files["notes"] == basic.files["notes"] == b"run_start\nrun_end FAILED\n"


def test_hydras_variable_shows_all(tmp_path: Path) -> None:
    ours = run(tmp_path, "ray_s3", "fate=raise", HYDRA_FULL_ERROR="1")
    assert ours.code == 1 and "hydra/_internal/utils.py" in ours.err and "in deep" in ours.err


@pytest.mark.parametrize(
    ("arguments", "jobs"),
    [(["x=3,4"], [3, 4]), (["-m"], [1, 2]), (["hydra.mode=MULTIRUN"], [1, 2]), (["-m", "x=5"], [5])],
)
def test_all_else_is_a_sweep(tmp_path: Path, arguments: list[str], jobs: list[int]) -> None:
    ours = run(tmp_path, "ray_s3", *arguments, "hydra.sweep.dir=swept")
    assert ours.code == 0, ours.err
    assert [ours.seen(f"swept/{num}") for num in range(len(jobs))] == [
        ["MULTIRUN", f"swept/{num}", x, True] for num, x in enumerate(jobs)
    ]


def test_a_preset_of_the_users_is_as_the_launcher_itself(tmp_path: Path) -> None:
    preset = tmp_path / "conf" / "hydra" / "launcher"
    preset.mkdir(parents=True)
    (preset / "mine.yaml").write_text("defaults: [ray_s3]\nmax_concurrent: 2\n")
    ours = run(tmp_path, "mine", "--config-dir", str(tmp_path / "conf"), "hydra.run.dir=here")
    assert ours.code == 0, ours.err
    assert ours.seen("here") == ["RUN", "here", 7, False]
