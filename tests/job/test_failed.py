"""What a failed job leaves of its outs: to its place what is whole of a key in both lists, aside all else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from trees import read, tree

from ray_decorator.core.machine.this_machine import path_id
from ray_decorator.core.progress import NoProgress
from ray_decorator.core.values.model import Home, Job, Out
from ray_decorator.job.disk.looks import Looks
from ray_decorator.job.failed import Left, bring_failed
from ray_decorator.job.outs import make_out_parents, out_paths
from ray_decorator.job.side import Side
from ray_decorator.store.identity import locate
from ray_decorator.store.store import open_store
from ray_decorator.store.transfer import pull

pytestmark = pytest.mark.usefixtures("node")

LOG = {"train.log": b"it failed"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """At home, with the state of an earlier run."""
    return tree(tmp_path / "home", {"state/a": b"a0", "state/b": b"b0", "ckpt": b"c0"})


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(locate((tmp_path / "store").as_uri()), None, True)


def at(path: Path) -> Home:
    nearest = path_id(path.parent)
    assert nearest is not None
    return Home(str(path), nearest)


def left(root: Path, side: Side, outs: list[Out], work: Callable[[list[Path]], None], *, runs: bool) -> Left:
    """``work`` writes to the paths, leaves files open, and the job fails; ``runs``: it has a directory."""
    job = Job("j", "#0", b"", (), tuple(outs), runs, "/", (), os.getuid())
    root.mkdir()
    paths = out_paths(job, root, side)
    make_out_parents(job, paths)
    for out, path in zip(outs, paths, strict=True):
        if out.is_dep and out.directory:
            tree(path, {"a": b"a0", "b": b"b0"})
    looks = Looks(root, [path for out, path in zip(outs, paths, strict=True) if out.is_dep])
    with looks:
        work(paths)
    return bring_failed(job, paths, root, side, looks.last())


def writes(paths: list[Path]) -> None:
    """A new whole version of a, a torn one of b, a new file c, and half a model."""
    state, model, run = paths
    (state / "a").write_bytes(b"a1")
    (state / "c").write_bytes(b"c1")
    model.write_bytes(b"half")
    tree(run, LOG)
    torn = open(state / "b", "wb")  # noqa: SIM115 (it is to stay open)
    torn.write(b"half")
    torn.flush()
    writes.open = torn  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def closed() -> object:
    yield
    if (torn := getattr(writes, "open", None)) is not None:
        torn.close()


HYDRA = {**LOG, "failed/state.dir/state/b": b"half", "failed/model_path/model": b"half"}
"""A job's directory, then. A key may be any text: a slash in it makes no folder."""


def test_of_a_hydra_job_near_home(tmp_path: Path, home: Path, side: Side) -> None:
    outs = [
        Out("state.dir", "state", home=at(home / "state"), directory=True, is_dep=True),
        Out("model/path", "model", home=at(home / "model")),
        Out("w", "run", home=at(home / "run"), directory=True),
    ]
    done = left(tmp_path / "s", side, outs, writes, runs=True)
    assert done.sent.error is None and done.keys == ("state.dir", "model/path")
    assert read(home / "state") == {"a": b"a1", "b": b"b0", "c": b"c1"}
    assert read(home / "run") == HYDRA and not (home / "model").exists()


def test_of_a_hydra_job_far_from_home(tmp_path: Path, home: Path, side: Side) -> None:
    outs = [
        Out("state.dir", "state", directory=True, is_dep=True),
        Out("model/path", "model"),
        Out("w", "run", directory=True),
    ]
    done = left(tmp_path / "s", side, outs, writes, runs=True)
    assert done.sent.error is None and done.keys == ("state.dir", "model/path")
    assert sorted(done.sent.outs) == [0, 2] and done.sent.aside == {}
    shop = open_store(locate((tmp_path / "store").as_uri()))
    pull(done.sent.outs[0], home / "state", shop, None, NoProgress())
    pull(done.sent.outs[2], home / "run", shop, None, NoProgress())
    assert read(home / "state") == {"a": b"a1", "b": b"b0", "c": b"c1"} and read(home / "run") == HYDRA


def test_of_a_function_near_home_and_far(tmp_path: Path, home: Path, side: Side) -> None:
    near = [
        Out("state", "state", home=at(home / "state"), directory=True, is_dep=True, beside=True),
        Out("model", "model", home=at(home / "model"), beside=True),
        Out("log", "log", home=at(home / "log"), directory=True),
    ]
    done = left(tmp_path / "near", side, near, writes, runs=False)
    assert done.keys == ("state", "model") and done.sent.kept
    assert "beside its place, log.failed would be in a dep or in another out" in str(done.sent.error)
    assert read(home) == {
        "state/a": b"a1", "state/b": b"b0", "state/c": b"c1", "state.failed/b": b"half", "ckpt": b"c0",
        "model.failed": b"half",
    }  # fmt: skip
    far = [
        Out("state", "state", directory=True, is_dep=True),
        Out("model", "model"),
        Out("log", "log", directory=True),
    ]
    done = left(tmp_path / "far", side, far, writes, runs=False)
    assert done.sent.error is None and done.keys == ("state", "model", "log")
    assert (sorted(done.sent.outs), sorted(done.sent.aside)) == ([0], [0, 1, 2])


def test_outs_in_one_another(tmp_path: Path, home: Path, side: Side) -> None:
    """A checkpoint in an output directory, and a model in the job's own, which is used in place."""
    (home / "run").mkdir()
    tree(home / "run", {"model/old": b"of another run"})
    outs = [
        Out("dir", "dir", home=at(home / "dir"), directory=True),
        Out("ckpt", "ckpt", inside=(0, "in/ckpt"), home=at(home / "ckpt"), is_dep=True),
        Out("model", "model", inside=(3, "model"), home=at(home / "run/model")),
        Out("w", "run", home=at(home / "run"), in_place=path_id(home / "run"), directory=True),
    ]

    def work(paths: list[Path]) -> None:
        whole, ckpt, model, run = paths
        assert run == home / "run"
        (whole / "half").write_bytes(b"half")
        ckpt.write_bytes(b"c1")
        (model / "new").write_bytes(b"half")
        tree(run, LOG)

    done = left(tmp_path / "s", side, outs, work, runs=True)
    assert done.sent.error is None and done.keys == ("dir", "model")
    assert read(home) == {
        "state/a": b"a0", "state/b": b"b0", "ckpt": b"c1",
        "run/train.log": b"it failed",
        "run/model/old": b"of another run", "run/failed/dir/dir/half": b"half",
        "run/failed/model/model/new": b"half",
    }  # fmt: skip


def test_what_is_in_the_way_leaves_it_on_the_node(tmp_path: Path, home: Path, side: Side) -> None:
    (home / "run").mkdir()
    (home / "run/failed").write_text("a file of the user's")
    outs = [
        Out("model", "model", home=at(home / "model")),
        Out("w", "run", home=at(home / "run"), in_place=path_id(home / "run"), directory=True),
    ]
    done = left(tmp_path / "s", side, outs, lambda paths: void(paths[0].write_text("half")), runs=True)
    assert done.keys == () and done.sent.kept
    assert f"outs key 'model': what the job wrote cannot be brought to {home}/run/failed/model/model" in str(
        done.sent.error
    )
    assert (tmp_path / "s/outs/0/model").read_text() == "half"


def void(_: object) -> None:
    """Nothing of it."""
