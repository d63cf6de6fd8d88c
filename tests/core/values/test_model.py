"""The values that flow: frozen, complete, and without secrets or payloads in what is shown."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import pytest

from ray_decorator.core.values import bundles, contents, model, stores
from ray_decorator.core.values.model import Call, Failure, PathSlot, Receipt

VALUES = [
    value
    for module in (model, bundles, contents, stores)
    for value in vars(module).values()
    if dataclasses.is_dataclass(value) and isinstance(value, type)
]


def test_all_values_are_frozen_and_small() -> None:
    assert len(VALUES) > 12
    for value in VALUES:
        assert value.__dataclass_params__.frozen, value  # type: ignore[attr-defined]
        assert "__slots__" in vars(value), value


def test_a_path_is_resolved_when_it_is_made(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    slot = PathSlot.at(("data", 0), "data.0", tmp_path / "link" / "new")
    assert slot.value == tmp_path / "link" / "new"
    assert slot.real == str((tmp_path / "real" / "new").resolve())
    (tmp_path / "link").unlink()
    assert slot.real == str((tmp_path / "real" / "new").resolve())  # as it was then
    assert pickle.loads(pickle.dumps(slot)) == slot


def test_a_call_writes_its_outs_and_then_its_workspace(tmp_path: Path) -> None:
    out, workspace = (PathSlot.at((), name, tmp_path / name) for name in ("out", "workspace"))
    assert Call(b"", b"", (), (out,), "n").targets == (out,)
    assert Call(b"", b"", (), (out,), "n", workspace).targets == (out, workspace)


@pytest.mark.parametrize(
    "value",
    [
        Call(b"secret", b"secret", (), (), "name"),
        Failure(b"secret", "summary", "traceback"),
        Receipt(value=b"secret"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_secrets_and_payloads_are_never_shown(value: object) -> None:
    assert "secret" not in repr(value)
