"""What is left of a failed call's outs comes beside their places, and its error says where it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_cluster import FakeStore, call

from ray_decorator.core.progress import NoProgress
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.model import Call, PathSlot, Receipt
from ray_decorator.run.data.failed_outs import bring_failed, place_beside

CONTENT = Content("0" * 32, 3, 1)


@dataclass(frozen=True)
class Frozen(Exception):
    """It takes no note by itself."""


def slot(key: str, path: Path) -> PathSlot:
    return PathSlot.at((), key, path)


@pytest.fixture
def function(tmp_path: Path) -> Call:
    """Its model lies in a directory that it reads."""
    outs = (slot("out", tmp_path / "out"), slot("model", tmp_path / "data/model"))
    return Call(b"", b"", (slot("data", tmp_path / "data"),), outs, "f")


def test_a_place_that_is_in_a_dep_or_another_out_is_none(function: Call, tmp_path: Path) -> None:
    assert [place_beside(function, out) for out in function.outs] == [tmp_path / "out.failed", None]
    taken = Call(b"", b"", (), (*function.outs, slot("x", tmp_path / "out.failed")), "f")
    assert place_beside(taken, taken.outs[0]) is None
    hydra = call("#0", tmp_path)
    assert place_beside(hydra, hydra.outs[0]) is None, "it comes with the job's directory"


def test_of_a_function(function: Call, tmp_path: Path) -> None:
    store, error = FakeStore(), Frozen()
    receipt = Receipt(failed=("out", "model"), aside={0: CONTENT, 1: CONTENT}, notes=("kept on node n1",))
    assert bring_failed(receipt, function, store, NoProgress(), error) == 10
    assert store.pulled == [tmp_path / "out.failed"]
    assert error.__notes__ == [
        "kept on node n1",
        f"outs key 'out': what it had written is at {tmp_path}/out.failed",
        f"outs key 'model': what it had written is in the store; bring it with: "
        f"ray-s3 fetch s3://bucket/{'0' * 32} model.failed",
    ]


def test_of_a_function_whose_outs_cannot_be_written(function: Call) -> None:
    error = Frozen()
    store = FakeStore(error=OSError(28, "No space left on device"))
    bring_failed(Receipt(failed=("out",), aside={0: CONTENT}), function, store, NoProgress(), error)
    assert error.__notes__ == [
        "outs key 'out': what it had written is in the store, since it cannot be written here ([Errno 28] No space "
        f"left on device); bring it with: ray-s3 fetch s3://bucket/{'0' * 32} out.failed"
    ]


def test_of_a_job_it_came_with_its_directory(tmp_path: Path) -> None:
    store, error = FakeStore(), Frozen()
    assert bring_failed(Receipt(failed=("a", "b.c")), call("#0", tmp_path), store, NoProgress(), error) == 0
    assert error.__notes__ == [f"What it had written is in {tmp_path}/#0/failed, by key: a, b.c"]
    assert store.pulled == []
