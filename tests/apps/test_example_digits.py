"""The example as its README tells it, started from elsewhere: no command may depend on the directory."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import warm_python
from ray_fixtures import LESS_WORK
from whole_programs import output_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"
IMPORTS = (*warm_python.APPS, "sklearn.datasets", "sklearn.ensemble", "sklearn.linear_model", "sklearn.svm")
MODELS = {"logistic": "LogisticRegression", "svm": "SVC", "forest": "RandomForestClassifier"}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, with its images written."""
    copy = tmp_path_factory.mktemp("example") / "digits"
    shutil.copytree(
        EXAMPLE,
        copy,
        ignore=lambda where, _: {"data", "outputs", "multirun"} if Path(where) == EXAMPLE else set(),
    )
    assert "1797 images" in run(copy / "prepare.py", cwd=copy.parent)
    return copy


def run(script: Path, *arguments: str, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k in LESS_WORK or not k.startswith("RAY_")}
    environment["XDG_CACHE_HOME"] = str(script.parent.parent / "cache")
    command = [*warm_python.starter(environment, imports=IMPORTS), str(script), *arguments]
    return output_of(command, cwd, env=environment)


def accuracy(job: Path) -> float:
    found = json.loads((job / "metrics.json").read_text())
    assert (found["train"], found["test"]) == (1347, 450)
    assert found["accuracy"] > 0.95
    return float(found["accuracy"])


def test_prepare_writes_every_image_once(example: Path) -> None:
    def times() -> dict[Path, int]:
        return {file: file.stat().st_mtime_ns for file in (example / "data").rglob("*.*")}

    before = times()
    run(example / "prepare.py", cwd=example)
    assert len(before) == 1797
    assert {file.suffix for file in before} == {".png"}
    assert times() == before


def test_a_sweep_on_ray_comes_home_as_a_sweep_here_does(example: Path, tmp_path: Path) -> None:
    for place, launcher in [("here", ["-m"]), ("ray", ["hydra/launcher=cluster"])]:
        (tmp_path / place).mkdir()
        shown = run(example / "train.py", *launcher, "model=logistic,svm,forest", cwd=tmp_path / place)
    started, alone = (
        "Starting Ray on this machine",
        "Ray runs on this machine alone, and data stays where it is",
    )
    assert shown.count(started) == shown.count(alone) == 1 and shown.index(started) < shown.index(alone)
    assert "3 jobs: 3 COMPLETED" in shown and "0 B up, 0 B down" in shown
    kept = example.parent / "cache" / "ray_s3"  # where outs were written, and receipts, but no content
    assert [entry.name for entry in kept.iterdir() if entry.is_dir()] == ["store"]
    assert [entry.name for entry in (kept / "store").iterdir()] == ["ray_s3"]
    assert {entry.name for entry in (kept / "store" / "ray_s3").iterdir()} == {"jobs", "runs"}
    for number, kind in enumerate(MODELS.values()):
        (here,) = (tmp_path / "here").glob(f"multirun/*/*/{number}")
        (there,) = (tmp_path / "ray").glob(f"multirun/*/*/{number}")
        assert accuracy(there) == accuracy(here)
        assert type(pickle.loads((there / "model.pkl").read_bytes())).__name__ == kind
        assert {file.name for file in there.iterdir()} == {file.name for file in here.iterdir()}
