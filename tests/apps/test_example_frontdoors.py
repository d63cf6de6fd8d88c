"""examples/decorator and examples/zen, by the commands of their READMEs, started from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import warm_python
from whole_programs import output_of

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.usefixtures("ray_session_address")


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    for name in ("decorator", "zen"):
        leave_out = shutil.ignore_patterns("counts", "outputs", "multirun", "__pycache__")
        shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=leave_out)
    return tmp_path


def run(script: Path, *arguments: str) -> str:
    return output_of([*warm_python.starter(), str(script), *arguments], script.parents[1], seconds=120)


def test_decorator(examples: Path) -> None:
    output = run(examples / "decorator" / "main.py")
    shown = re.findall(r"^```\n(.*?)^```", (examples / "decorator" / "README.md").read_text(), re.M | re.S)
    assert output == shown[0]
    counted = json.loads((examples / "decorator" / "counts" / "moby.json").read_text())
    assert counted["little"] == 2


def test_zen(examples: Path) -> None:
    output = run(examples / "zen" / "app.py")
    shown = (examples / "zen" / "README.md").read_text()
    [line] = re.findall(r"^\(train pid=\d+\) (Alice.*)$", output, re.M)
    assert f") {line}\n" in shown
    assert output.count("is built in process") == 1
    [model] = examples.glob("outputs/*/*/model.json")
    assert "Ali" in json.loads(model.read_text())


def test_zen_by_config_alone(examples: Path) -> None:
    chosen = ["hydra/launcher=ray_s3", "hydra.launcher.deps=[text]", "hydra.launcher.outs=[model_path]"]
    output = run(examples / "zen" / "plain.py", *chosen, "model.order=2,3")
    for number, order in enumerate((2, 3)):
        assert f"(#{number} model.order={order} pid=" in output
        [model] = examples.glob(f"multirun/*/*/{number}/model.json")
        assert len(next(iter(json.loads(model.read_text())))) == order


def test_zen_with_both(examples: Path) -> None:
    output = run(examples / "zen" / "app.py", "hydra/launcher=ray_s3", "model.order=2,3")
    assert "(#0 model.order=2 pid=" in output
    assert "(train pid=" not in output
    assert len(list(examples.glob("multirun/*/*/*/model.json"))) == 2
