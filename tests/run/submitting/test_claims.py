"""Two calls that would write to the same place at home: found out, and said once for each place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ray_decorator.core.slots import find
from ray_decorator.core.values.model import Call, PathSlot
from ray_decorator.run.submitting.claims import Claims

CURE = (
    "Give each job a path of its own: put ${hydra.job.num} into it, or place it below "
    "${hydra:runtime.output_dir}"
)


def call(number: int, **outs: Path | str) -> Call:
    slots = tuple(PathSlot.at((key,), key, Path(value)) for key, value in outs.items())
    workspace = PathSlot.at((), "workspace", Path(f"/runs/{number}"))
    return Call(b"", b"", (), slots, name=f"#{number} x={number}", workspace=workspace)


def test_paths_of_their_own_are_fine(tmp_path: Path) -> None:
    calls = [call(n, model=tmp_path / f"{n}", metrics=tmp_path / f"{n}" / "deeper") for n in range(300)]
    assert Claims().add(*calls) == []


def test_two_calls_are_both_named_with_their_keys(tmp_path: Path) -> None:
    [problem] = Claims().add(call(0, model=tmp_path / "out"), call(1, metrics=tmp_path / "out"))
    assert problem == (
        "job #0 x=0 (key 'model') and job #1 x=1 (key 'metrics') would both write "
        f"{tmp_path}/out (the same path): one result would overwrite the other. {CURE}"
    )


def test_three_hundred_calls_that_collide_are_one_message(tmp_path: Path) -> None:
    [problem] = Claims().add(*(call(n, model=tmp_path / "out") for n in range(300)))
    assert problem == (
        f"300 jobs: #0 x=0, #1 x=1, #2 x=2, … would all write {tmp_path}/out (key 'model'): "
        f"one result would overwrite the other. {CURE}"
    )


def test_each_place_has_a_message_of_its_own(tmp_path: Path) -> None:
    first, second = Claims().add(
        *(call(n, model=tmp_path / "model", metrics=tmp_path / "metrics") for n in range(3))
    )
    assert f"#2 x=2 would all write {tmp_path}/model (key 'model'):" in first
    assert f"#2 x=2 would all write {tmp_path}/metrics (key 'metrics'):" in second


def test_one_place_under_several_keys_is_one_message(tmp_path: Path) -> None:
    calls = [call(n, **{("last", "best")[n % 2]: tmp_path / "out"}) for n in range(4)]
    [problem] = Claims().add(*calls)
    assert (
        f"4 jobs: #0 x=0, #1 x=1, #2 x=2, … would all write {tmp_path}/out (keys 'last', 'best'):" in problem
    )


@pytest.mark.parametrize("inner_first", [False, True])
def test_one_inside_the_other(tmp_path: Path, inner_first: bool) -> None:
    paths = [tmp_path / "out", tmp_path / "out" / "deeper"]
    first, second = reversed(paths) if inner_first else paths
    [problem] = Claims().add(call(0, model=first), call(1, model=second))
    assert f"would both write {second} ({first}, one inside the other): one result" in problem


def test_many_inside_one(tmp_path: Path) -> None:
    calls = [call(0, out=tmp_path / "out")] + [call(n, out=tmp_path / "out" / f"{n}") for n in range(1, 300)]
    [problem] = Claims().add(*calls)
    assert problem == (
        f"300 jobs: #0 x=0, #1 x=1, #2 x=2, … would all write {tmp_path}/out (key 'out') or what is inside "
        f"of it, such as {tmp_path}/out/1: one result would overwrite the other. {CURE}"
    )


def test_what_a_link_makes_the_same_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    os.symlink("real", tmp_path / "link")
    [problem] = Claims().add(call(0, out=tmp_path / "real" / "a"), call(1, out=tmp_path / "link" / "a"))
    assert f"would both write {tmp_path}/link/a ({tmp_path}/real/a, the same path): one result" in problem


def test_a_call_may_write_inside_its_own_outs(tmp_path: Path) -> None:
    assert Claims().add(call(0, folder=tmp_path, file=tmp_path / "a", again=tmp_path / "a")) == []


def test_calls_may_come_one_by_one(tmp_path: Path) -> None:
    claims = Claims()
    assert claims.add(call(0, out=tmp_path / "out")) == []
    assert claims.add(call(1, out=tmp_path / "other")) == []
    [problem] = claims.add(call(2, out=tmp_path / "out"))
    assert "job #0 x=0 (key 'out') and job #2 x=2 (key 'out') would both write" in problem


@pytest.mark.parametrize("kind", ["deps", "outs"])
@pytest.mark.parametrize("key", ["model.path", "model"])
def test_a_key_without_a_value_says_whether_it_is_of_deps_or_outs(
    tmp_path: Path, kind: str, key: str
) -> None:
    config = OmegaConf.create({"model": {"path": "${missing}"}})
    found, [problem] = find(config, [key], kind=kind, start=tmp_path)
    assert found == ()
    assert problem.startswith(f"{kind} key 'model.path' has no value: Interpolation key 'missing' not found")


def test_functions_are_told_nothing_of_hydra(tmp_path: Path) -> None:
    out = PathSlot.at((), "out", tmp_path / "out")
    claims = Claims()
    assert claims.add(Call(b"", b"", (), (out,), name="first")) == []
    [problem] = claims.add(Call(b"", b"", (), (out,), name="second"))
    assert problem.endswith("Give each call a path of its own, or wait for the one that runs")
