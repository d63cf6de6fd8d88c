"""A sweep whose driver was killed half-way is started again, and runs only what is missing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import servers
import warm_python
from store_fixtures import s3_store

from ray_decorator.store.store import Store

pytestmark = pytest.mark.usefixtures("ray_session_address")

CONFIG = """\
x: 1
lr: ${oc.env:LR,0.1}
seed: ${hydra:job.num}
data: {path: data}
model: models/${x}.txt
hydra: {launcher: {deps: [data.path], outs: [model]}}
"""
APP = """\
import os, time
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig

HERE = %r

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    while cfg.x == 3 and Path(HERE, "wait").exists():
        time.sleep(0.05)
    with open(Path(HERE, "ran.txt"), "a") as ran:
        ran.write(f"{cfg.x} ")
    Path(cfg.model).parent.mkdir(exist_ok=True)
    Path(cfg.model).write_text(Path(cfg.data.path, "a.txt").read_text() + f" {cfg.x}")
    Path(HydraConfig.get().runtime.output_dir, "note.txt").write_text(f"note {cfg.x}")
    return cfg.x * 1.5

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The app's directory; what its jobs tell of themselves is outside of it."""
    root = tmp_path / "app"
    (root / "conf").mkdir(parents=True)
    (root / "data").mkdir()
    (root / "data" / "a.txt").write_text("data")
    (root / "conf" / "config.yaml").write_text(CONFIG)
    (root / "app.py").write_text(APP % str(tmp_path))
    return root


def start(home: Path, url: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*warm_python.starter(), "app.py", "-m", "hydra/launcher=ray_s3", *arguments],
        cwd=home,
        env={**os.environ, "RAY_S3_BASE_PATH": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(home: Path, url: str, *arguments: str) -> dict[str, tuple[str, str]]:
    """Overrides -> status and result, as the table has them."""
    with start(home, url, *arguments) as process:
        output = process.communicate(timeout=180)[0]
    assert process.returncode == 0, output
    lines = output[output.index("\njob  overrides") :].splitlines()[2:]
    rows = [line.split() for line in lines if line.split()[:1] and line.split()[0].isdecimal()]
    return {row[1]: (row[2], row[4]) for row in rows if not row[1].startswith("job")}


def ran(home: Path) -> list[str]:
    told = home.parent / "ran.txt"
    return sorted(told.read_text().split()) if told.exists() else []


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def receipts(store: Store) -> int:
    return sum(len(page) for page in store.list("ray_s3/jobs/"))


def test_the_same_command_runs_what_is_missing(
    home: Path, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{servers.BUCKET}/{uuid.uuid4().hex}"
    store = s3_store(rclone, monkeypatch, url)
    (home.parent / "wait").touch()
    with start(home, url, "x=1,2,3") as driver:
        wait_for(lambda: receipts(store) == 2 or driver.poll() is not None)
        driver.send_signal(signal.SIGKILL)
        output = driver.communicate(timeout=60)[0]
    assert receipts(store) == 2, output
    (home.parent / "wait").unlink()
    shutil.rmtree(home / "models", ignore_errors=True)
    config = home / "conf" / "config.yaml"
    config.write_text(f"# a comment\n{CONFIG}")

    rows = run(home, url, "x=2,4,1,3", "hydra.launcher.resume=true", "hydra.sweep.dir=sweep")
    assert rows == {
        "x=2": ("RESUMED", "3"), "x=4": ("COMPLETED", "6"), "x=1": ("RESUMED", "1.5"), "x=3": ("COMPLETED", "4.5"),
    }  # fmt: skip
    assert ran(home) == ["1", "2", "3", "4"]
    assert [(home / "models" / f"{x}.txt").read_text() for x in (1, 2, 3, 4)] == [
        f"data {x}" for x in (1, 2, 3, 4)
    ]
    assert [(home / "sweep" / f"{number}" / "note.txt").read_text() for number in range(4)] == [
        "note 2", "note 4", "note 1", "note 3",
    ]  # fmt: skip


def test_a_search_with_a_fixed_seed_is_resumed(home: Path) -> None:
    url = (home.parent / "store").as_uri()
    (home / "conf" / "config.yaml").write_text(f"{CONFIG}y: 0\n")
    search = [
        "hydra/sweeper=optuna",
        "hydra.sweeper.sampler.seed=1",
        "hydra.sweeper.n_jobs=1",
        "y=choice(1,2,3,4)",
    ]
    first = run(home, url, *search, "hydra.sweeper.n_trials=2")
    again = run(home, url, *search, "hydra.sweeper.n_trials=3", "hydra.launcher.resume=true")
    statuses = [status for status, _ in again.values()]
    assert [status for status, _ in first.values()] == ["COMPLETED"] * len(first)
    assert statuses.count("RESUMED") == len(first)


GOES_ON = """\
import time
from pathlib import Path
import hydra, ray_decorator

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    step = Path(cfg.model, "step")
    began = step.read_text()
    print("starts at", began, flush=True)
    step.write_text("1")
    print("saved", ray_decorator.checkpoint(), flush=True)
    time.sleep(120 if began == "0" else 0)

if __name__ == "__main__":
    main()
"""


def test_with_nothing_configured_too_a_job_goes_on_from_its_checkpoint(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_S3_BASE_PATH", "RAY_ADDRESS"):  # data stays where it is, and the driver writes receipts
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (home / "app.py").write_text(GOES_ON)
    (home / "model").mkdir()
    (home / "model" / "step").write_text("0")
    both = ("hydra.launcher.deps=[model]", "hydra.launcher.outs=[model]", "+model=model")
    arguments = (*both, "hydra/launcher=ray_s3", "hydra.run.dir=ran")

    def started(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*warm_python.starter(), "app.py", *arguments, *more],
            cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    first = started()
    assert first.stdout is not None
    assert any("saved True" in line for line in first.stdout)
    wait_for(lambda: list(tmp_path.glob("cache/**/checkpoints/jobs/*.json")))
    first.kill()
    first.communicate(timeout=60)
    second = started("hydra.launcher.resume=true")
    output = second.communicate(timeout=200)[0]
    assert second.returncode == 0, output
    assert "begins with an earlier run's checkpoint of attempt 1" in output and "starts at 1" in output
    assert (home / "model" / "step").read_text() == "1"
