"""A receipt becomes an outcome, and what the job has written comes home."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_cluster import FakeStore, call, value

from ray_decorator.core.errors import InputError, StoreUnreachableError
from ray_decorator.core.progress import NoProgress
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.model import Outcome, Receipt
from ray_decorator.run.engine.landing import Landing

OUTS = {0: Content("0" * 32, 3, 1), 1: Content("1" * 32 + ".dir", 3, 1)}


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


def outcome(store: FakeStore, tmp_path: Path, receipt: Receipt, error: Exception | None = None) -> Outcome:
    return Landing(store, NoProgress()).outcome(call("a", tmp_path), 7, 2, receipt, error)


def test_a_value_with_its_outs(store: FakeStore, tmp_path: Path) -> None:
    made = outcome(store, tmp_path, value(42, outs=OUTS, seconds=1.5, node="n1"))
    assert made == Outcome("a", 42, None, 1.5, 7, 20, "n1", 2)
    assert store.pulled == [tmp_path / "a.pkl", tmp_path / "a"]


def test_an_out_that_was_not_written_is_named(
    store: FakeStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert outcome(store, tmp_path, value(1, unwritten=("model.path",))).value == 1
    assert "a: output 'model.path' was not produced" in caplog.text


def test_an_out_that_cannot_come_is_the_error_where_there_is_no_other(
    store: FakeStore, tmp_path: Path
) -> None:
    store.error = InputError("a directory is in the way")
    made = outcome(store, tmp_path, value(1, outs={0: OUTS[0]}))
    assert isinstance(made.error, InputError) and made.value is None
    assert str(made.error).endswith(f"in the way. What the job wrote is at {tmp_path / 'a.pkl.ray_s3'}")
    store.error = StoreUnreachableError("nobody")
    own = outcome(store, tmp_path, Receipt(outs={0: OUTS[0]}), KeyError("x")).error
    assert isinstance(own, KeyError)
    assert own.__notes__[0].startswith(
        "What it had written could not be brought home: outs key 'model.path': "
    )
    assert " did not come home: nobody. It is in the store; bring it later with: " in own.__notes__[0]
