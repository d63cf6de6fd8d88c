"""The stages of a `dvc.yaml`, compared with the real dvc's."""

from __future__ import annotations

from pathlib import Path

import pytest
from dvc_repositories import Dvc

from ray_decorator.core.errors import InputError
from ray_decorator.dvc.tracked import stages
from ray_decorator.dvc.tracked.stages import Stage

PARAMS = """
models: [svm, forest]
sizes: {small: 1, large: 2e-3}
out: models
mixed: {1: a, b: c}
options: {lr: 1, on: true, off: false, s: "a b", l: [1, x y, true], n: {k: 1e-3, e: [], f: null}, g: {}, 1: x}
"""
PIPELINE = """
vars:
  - raw: data/raw
  - more.json:kind
stages:
  prepare:
    cmd: python prepare.py ${raw}
    deps: [prepare.py, "${raw}"]
    outs: [data/ready]
  train:
    matrix: {model: "${models}", seed: [1, true, 0.10]}
    cmd: python train.py model=${item.model} seed=${item.seed}
    deps: [train.py, data/ready]
    outs: ["${out}/${item.model}-${item.seed}.pkl": {persist: true}]
    metrics: ["metrics/${key}.json": {cache: false, remote: "${out}"}]
  fit:
    foreach: ${sizes}
    do:
      wdir: sub
      cmd:
        - echo ${key}
        - >-
          python ../fit.py
          size=${item}
      deps: [../fit.py]
      plots: ["${key}.csv": {x: a}]
  each:
    foreach: [{a: 1}, {a: 2}]
    do:
      vars: [{own: "x"}]
      cmd: run ${item.a}
      outs: ["${own}/${item.a}"]
  mapped:
    foreach: ${mixed}
    do: {cmd: "run ${key} ${item}"}
  written:
    foreach: {1: a, b: c}
    do: {cmd: "run ${key} ${item}"}
  twice:
    foreach: [x, x]
    do: {cmd: "run ${item}"}
  grid:
    matrix: {x: [1, "1"], y: [{1: a, b: c}]}
    cmd: run ${item.y} ${item.x}
  fitted:
    cmd: python fitted.py ${options}
  plain:
    foreach: [1, two]
    do:
      cmd: python plain.py ${item} \\${HOME}
      deps: ["${kind}", "~/d"]
      outs: ["plain.${item}"]
  "no":
    cmd: python -m pkg.tool x=1
    deps: [https://example.org/far, /tmp/absolute]
"""


@pytest.fixture
def repository(root: Path) -> Path:
    (root / "sub").mkdir()
    (root / "params.yaml").write_text(PARAMS)
    (root / "more.json").write_text('{"kind": "some.txt"}')
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "sub" / "dvc.yaml").write_text(
        "stages: {train: {cmd: python t.py, deps: [t.py], outs: [t.out]}}\n"
    )
    return root


def named(repository: Path, file: str = "dvc.yaml") -> dict[str, Stage]:
    found = list(stages.stages(str(repository / file)))
    assert len({stage.name for stage in found}) == len(found)
    return {stage.name: stage for stage in found}


def test_they_are_those_that_dvc_sees(dvc: Dvc, repository: Path) -> None:
    from dvc.stage.run import _enforce_cmd_list

    for file in ("dvc.yaml", "sub/dvc.yaml"):
        found = named(repository, file)
        with dvc.repo(str(repository)) as repo:
            theirs = {stage.name: stage for stage in repo.stage.load_all(path=str(repository / file))}
            assert found.keys() == theirs.keys()
            for name, stage in theirs.items():
                ours = found[name]
                local = [dep.fs_path for dep in stage.deps if dep.protocol == "local"]
                deps = [path for path in local if not path.endswith(("params.yaml", "more.json"))]
                assert list(ours.deps) == deps
                assert set(ours.outs) == {out.fs_path for out in stage.outs}
                assert ours.persistent == {out.fs_path for out in stage.outs if out.persist}
                assert list(ours.commands) == _enforce_cmd_list(stage.cmd)
                assert ours.folder == stage.wdir
                assert ours.uncached == {out.fs_path for out in stage.outs if not out.use_cache}
                assert ours.remotes == {out.fs_path: out.remote for out in stage.outs if out.remote}


@pytest.mark.parametrize(
    "text",
    [
        "stages: {a: {cmd: x, deps: ['${gone}']}}",
        "stages: {a: {matrix: {b: [1]}, cmd: '${item.c}'}}",
        "{vars: [{m: {b: 1}}], stages: {a: {cmd: x, outs: ['x${m}']}}}",
        "{vars: [{m: {b: [[1]]}}], stages: {a: {cmd: 'x ${m}'}}}",
        "stages: {a: [1]}",
    ],
)
def test_what_dvc_would_refuse_is_an_error_that_names_file_and_stage(root: Path, text: str) -> None:
    (root / "dvc.yaml").write_text(text)
    with pytest.raises(InputError, match=r"dvc.yaml: stage 'a': .*Correct it, or list the keys"):
        list(stages.stages(str(root / "dvc.yaml")))


@pytest.mark.parametrize("text", ["stages: [a]", "vars: [[1]]", "stages: {a: {matrix: [1], cmd: x}}"])
def test_so_is_what_is_no_such_file_at_all(root: Path, text: str) -> None:
    (root / "dvc.yaml").write_text(text)
    with pytest.raises(InputError, match=r"dvc.yaml: .*orrect it, or list the keys"):
        list(stages.stages(str(root / "dvc.yaml")))


def test_a_mapping_in_a_command_follows_dvcs_configuration(dvc: Dvc, repository: Path) -> None:
    with (repository / ".dvc" / "config").open("a") as config:
        config.write("[parsing]\n    bool = boolean_optional\n    list = append\n")
    with dvc.repo(str(repository)) as repo:
        (real,) = repo.stage.load_all(path=str(repository / "dvc.yaml"), name="fitted")
        assert named(repository)["fitted"].commands == (real.cmd,)
        assert "--no-off" in real.cmd and "--l 1 --l 'x y'" in real.cmd
