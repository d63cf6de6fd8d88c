"""The stage that a program runs in: as the real dvc tells it, and where it is started by hand."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import pytest
from dvc_repositories import Dvc
from trees import tree

from ray_decorator.core.errors import InputError
from ray_decorator.dvc.running import Program, stage_of, told

WHO = f"""#!{sys.executable}
import os, sys
from ray_decorator.dvc.running import Program, stage_of, told
from ray_decorator.project import driver

by_dvc = told(os.getcwd())
root, name = os.environ["DVC_ROOT"], os.environ.pop("DVC_STAGE")
by_hand = stage_of(Program(os.getcwd(), str(driver.main_script()), driver.module_name(), tuple(sys.argv[1:])))
print("told", os.path.relpath(by_dvc.file, root), by_dvc.name, by_hand.name if by_hand == by_dvc else by_hand)
"""
COMMANDS = """
stages:
  folder: {cmd: "cd src && PY who.py a"}
  wdir: {wdir: src, cmd: PY who.py b}
  module: {cmd: cd src; PY -m pkg.who | cat}
  whole: {cmd: PY src/pkg}
  file: {cmd: ./src/who.py c 2>&1}
  listed: {cmd: [cd src, PY 'src/who.py' "q=a b"]}
  shell: {cmd: "(cd src && env -u X PY who.py d)"}
  lines:
    cmd: |
      true
      PY src/who.py e
  item:
    cmd: ["cd src\\n# PY who.py a\\nPY who.py \\\\\\n f"]
  m:
    matrix: {x: [1, 2]}
    cmd: PY src/who.py x=${item.x}
""".replace("PY", sys.executable)


def test_dvc_tells_it_and_by_hand_the_command_does(dvc: Dvc, root: Path) -> None:
    texts = dict.fromkeys(("src/who.py", "src/pkg/who.py", "src/pkg/__main__.py"), WHO)
    texts |= {
        "dvc.yaml": COMMANDS,
        "pipes/dvc.yaml": f"stages: {{m: {{wdir: .., cmd: {sys.executable} far.py}}}}",
    }
    tree(root, {name: text.encode() for name, text in texts.items()} | {"far.py": WHO.encode()})
    (root / "src" / "who.py").chmod(0o755)
    shown = dvc(root, "repro") + dvc(root / "pipes", "repro")
    names = [
        "file",
        "folder",
        "item",
        "lines",
        "listed",
        "m@1",
        "m@2",
        "module",
        "shell",
        "wdir",
        "whole",
    ]
    assert sorted(line for line in shown.splitlines() if line.startswith("told")) == [
        *(f"told dvc.yaml {name} {name}" for name in names),
        "told pipes/dvc.yaml m m",
    ]


PARAMS = """
sizes: {small: 1, large: 2e-3}
options: {lr: 1, on: true, s: "a b", l: [1, x y]}
"""
PIPELINE = """
stages:
  train:
    matrix: {model: [svm, forest], seed: [1, true, 0.10]}
    cmd: poetry run python train.py model=${item.model} seed=${item.seed}
  fit:
    foreach: ${sizes}
    do:
      wdir: sub
      cmd:
        - echo ${key}
        - >-
          uv run ../fit.py
          size=${item}
  fitted: {cmd: "python fitted.py ${options}"}
  "no": {cmd: python -m pkg.tool x=1}
  script: {cmd: uv run my-app y=2}
"""


@pytest.fixture
def repository(root: Path) -> Path:
    (root / "params.yaml").write_text(PARAMS)
    (root / "dvc.yaml").write_text(PIPELINE)
    return root


def test_a_stage_that_there_is_not(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(str(repository)) is None
    monkeypatch.setenv("DVC_STAGE", "gone")
    with pytest.raises(
        InputError, match=r"DVC_STAGE is 'gone', but no dvc.yaml below .* has that stage. Unset"
    ):
        told(str(repository))


@pytest.mark.parametrize(
    ("script", "module", "arguments", "name"),
    [
        ("train.py", None, ("model=svm", "seed=true"), "train@svm-true"),
        ("train.py", None, ("hydra/launcher=cluster", "seed=0.1", "model=forest"), "train@forest-0.1"),
        ("fit.py", None, ("size=0.002",), "fit@large"),
        (None, "pkg.tool", ("x=1", "y=2"), "no"),
        ("pkg/tool.py", None, ("x=1",), "no"),
        ("fitted.py", None, ("--lr", "1", "--on", "--s", "a b", "--l", "1", "x y"), "fitted"),
        (f"{sysconfig.get_path('scripts')}/my-app", None, ("y=2",), "script"),
    ],
)
def test_a_program_that_is_started_by_hand_runs_in_the_stage_that_would_start_it(
    repository: Path, script: str | None, module: str | None, arguments: tuple[str, ...], name: str
) -> None:
    path = str(repository / script) if script else None
    assert stage_of(Program(str(repository), path, module, arguments)).name == name


def test_a_program_of_no_stage_or_of_several_is_an_error_that_says_what_to_do(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    start = str(repository)
    with pytest.raises(InputError, match=r"no stage of a dvc.yaml in .* runs .*other.py: set DVC_STAGE"):
        stage_of(Program(start, str(repository / "other.py")))
    with pytest.raises(
        InputError, match=r"train.py may run in more than one stage \(train@svm-1, .*set DVC_STAGE"
    ):
        stage_of(Program(start, str(repository / "train.py")))
    outside = str(tmp_path_factory.mktemp("outside"))
    with pytest.raises(InputError, match="is in no DVC repository: start the app in one, or list the keys"):
        stage_of(Program(outside, os.path.join(outside, "x.py")))
