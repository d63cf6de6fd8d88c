"""The DVC example as its README tells it: a pipeline in a repository of its own, here and on Ray."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import dvc_repositories
import pytest
import warm_python
from whole_programs import output_of

from ray_decorator.environment import graph
from ray_decorator.environment.installed import installed_distributions
from ray_decorator.environment.needed import asked_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "dvc"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    left_out = shutil.ignore_patterns("data", "models", "multirun", "outputs", "__pycache__", "dvc_plots")
    root = shutil.copytree(EXAMPLE, tmp_path / "digits", ignore=left_out)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    imports = (
        *warm_python.APPS,
        "sklearn.datasets",
        "sklearn.ensemble",
        "sklearn.linear_model",
        "sklearn.svm",
    )
    monkeypatch.setenv("PATH", warm_python.on_path(tmp_path / "bin", imports=imports))
    warm_python.on_path(tmp_path / "bin", "dvc", "-m", "dvc", imports=dvc_repositories.IMPORTS)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@b")
    return root


def commands(*containing: str) -> str:
    """Those of the README's commands that contain one of these, in their order."""
    lines = re.findall(r"^    (.*)", (EXAMPLE / "README.md").read_text(), re.M)
    return "\n".join(["set -e", *(line for line in lines if any(each in line for each in containing))])


def run(repository: Path, script: str) -> str:
    return output_of(["bash"], repository, given=script)


@pytest.mark.usefixtures("ray_session_address")
def test_the_pipeline_runs_on_ray_and_has_nothing_left_to_do_here(repository: Path) -> None:
    shown = run(repository, commands("git ", "dvc repro", "dvc metrics show"))
    assert "Stage 'train' of dvc.yaml: deps data (no key names train.py, conf/model" in shown
    assert "; outs out\n" in shown and "3 jobs: 3 COMPLETED" in shown
    assert shown.count("didn't change, skipping") == 5 and "Data and pipelines are up to date." in shown
    for model in ("logistic", "svm", "forest"):
        metrics = json.loads((repository / f"metrics/{model}.json").read_text())
        assert metrics["accuracy"] > 0.8
        assert re.search(rf"metrics/{model}.json +{metrics['accuracy']} +{metrics['wrong']}", shown)
        assert len((repository / f"models/{model}/curve.csv").read_text().splitlines()) == 6
        assert (repository / f"models/{model}/model.pkl").exists()
    # trained here, one after the other, the models are the same to DVC
    again = run(repository, "dvc repro --single-item --force train && dvc status && git status --short")
    assert "on Ray" not in again and again.endswith("Data and pipelines are up to date.\n")


def test_jobs_are_given_a_third_of_the_packages_at_most() -> None:
    """All that a driver with DVC has were 142."""
    asked, requires = asked_for(EXAMPLE), installed_distributions().requires
    assert asked is not None
    needed = graph.reached([*asked, ("ray-decorator", frozenset())], requires)
    assert {"scikit-learn", "hydra-core", "obstore"} <= needed and "dvc" not in needed
    assert len(needed) <= 142 / 3
