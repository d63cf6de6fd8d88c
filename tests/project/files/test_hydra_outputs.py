"""What Hydra's jobs have left in a project stays at home."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from projects import (
    collected,
    git,
    importing,
    make,
    names,
)

from ray_decorator.project.files import hydra_outputs

RUNS = [
    "runs/1/multirun.yaml runs/1/0/.hydra/hydra.yaml runs/1/0/model.pkl runs/1/1/crashed.log",
    "runs/named/multirun.yaml runs/named/lr=1/.hydra/hydra.yaml runs/named/lr=2/crashed.log",
    "runs/solo/.hydra/hydra.yaml runs/solo/train.log runs/solo/deep/weights.pt runs/solo/copied.py",
    "src/app/outputs/2026-01-02/03-04-05/train.log src/app/outputs/last.txt",
    "deep/multirun/2026-01-02/03-04-05/0/train.log deep/multirun/2026-01-03/.gitkeep",
]


@pytest.mark.parametrize("runs", RUNS)
def test_what_earlier_runs_have_left_does_not_travel(tmp_path: Path, runs: str) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "scripts/train.py", "runs/README.md", *runs.split())
    assert names(collected(root / "scripts/train.py")) == [
        "0/pyproject.toml",
        "0/runs/README.md",
        "0/scripts/train.py",
    ]


def test_what_only_looks_like_an_earlier_run_s_travels(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "scripts/train.py", "src/multirun/2026.py")
    make(root, "conf/mode/multirun.yaml", "conf/mode/single.yaml", "conf/1/a.yaml", "conf/.hydra/x.yaml")
    make(root, "daily/outputs/2026-01-02/table.csv", "outputs-2026/2026-01-02/03-04-05/x")
    make(root, "src/outputs/__init__.py", "src/outputs/2026-01-02/03-04-05/.hydra/hydra.yaml")
    assert names(collected(root / "scripts/train.py")) == [
        "0/conf/.hydra/x.yaml",
        "0/conf/1/a.yaml",
        "0/conf/mode/multirun.yaml",
        "0/conf/mode/single.yaml",
        "0/daily/outputs/2026-01-02/table.csv",
        "0/outputs-2026/2026-01-02/03-04-05/x",
        "0/pyproject.toml",
        "0/scripts/train.py",
        "0/src/multirun/2026.py",
        "0/src/outputs/__init__.py",
    ]


@pytest.mark.parametrize("kept_by", ["the root", "sys.path", "the working directory", "an import", "git"])
def test_code_travels_though_a_job_has_run_in_its_folder(tmp_path: Path, kept_by: str) -> None:
    """As with hydra.run.dir=. and hydra.sweep.dir=."""
    root = make(tmp_path / "app", "setup.py", "train.py", "tp_jobs/lib.py", "tp_jobs/deep/a.csv")
    make(root, "tp_jobs/multirun.yaml", "tp_jobs/.hydra/hydra.yaml", "tp_jobs/0/.hydra/hydra.yaml")
    make(root, "tp_jobs/0/model.pkl")
    inside = root / "tp_jobs"
    if kept_by == "the root":
        main = make(inside, "setup.py", "train.py") / "train.py"
        project = collected(main)
    elif kept_by == "sys.path":
        project = collected(root / "train.py", sys_path=[root, inside])
    elif kept_by == "the working directory":
        project = collected(root / "train.py", cwd=inside / "deep")
    elif kept_by == "an import":
        with importing(root, "tp_jobs.lib"):
            project = collected(root / "train.py")
    else:
        git(root, "init", "-q")
        git(root, "add", "tp_jobs/lib.py", "tp_jobs/deep")
        project = collected(root / "train.py")
    found = {os.path.relpath(path, inside) for _, path in project.files}
    assert {"lib.py", "deep/a.csv"} <= found
    assert not {"0/model.pkl", "0/.hydra/hydra.yaml"} & found


def test_a_folder_of_modules_named_outputs_that_the_app_imports_from_travels(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "train.py", "outputs/tp_writers.py", "outputs/tp_late.py")
    make(root, "outputs/2026-01-02/03-04-05/.hydra/hydra.yaml", "outputs/2026-01-02/03-04-05/train.log")
    with importing(root, "outputs.tp_writers"):
        project = collected(root / "train.py")
    assert names(project) == ["0/outputs/tp_late.py", "0/outputs/tp_writers.py", "0/train.py"]


def test_folders_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    make(tmp_path, "job/.hydra/hydra.yaml", "sweep/multirun.yaml", "sweep/lr=1/.hydra/hydra.yaml")
    make(tmp_path, "outputs/2026-01-02/03-04-05/a.log", "multirun/2026-01-02/a.log", "configs/multirun.yaml")
    rules = (hydra_outputs.is_job, hydra_outputs.is_sweep, hydra_outputs.holds_runs)
    found = {
        folder.name: [rule(str(folder), os.listdir(folder)) for rule in rules]
        for folder in tmp_path.iterdir()
    }
    assert found == {
        "job": [True, False, False],
        "sweep": [False, True, False],
        "outputs": [False, False, True],
        "multirun": [False, False, False],
        "configs": [False, False, False],
    }
