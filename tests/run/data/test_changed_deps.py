"""Whoever changes what jobs read in place is told which jobs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from trees import tree

from ray_decorator.core.values.model import PathSlot
from ray_decorator.run.data import changed_deps
from ray_decorator.run.data.changed_deps import ChangedDeps


@pytest.fixture
def dep(tmp_path: Path) -> PathSlot:
    return PathSlot.at((), "data.path", tree(tmp_path / "data", {"a": b"1", "b": b"2"}))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_one_warning_names_the_job(dep: PathSlot, caplog: pytest.LogCaptureFixture) -> None:
    deps = ChangedDeps()
    deps.begin("#0 x=1", "#0 x=1", [dep])
    (dep.value / "a").write_bytes(b"changed")
    deps.end("#0 x=1", [dep])
    deps.end("#0 x=1", [dep])
    [warning] = warnings(caplog)
    assert warning.startswith(f"{dep.value} (deps key 'data.path') was changed while #0 x=1 ran")


def test_nothing_is_said_where_nothing_changed_or_nobody_read(
    dep: PathSlot, caplog: pytest.LogCaptureFixture
) -> None:
    deps = ChangedDeps()
    deps.begin("#0", "#0", [dep])
    deps.end("#0", [dep])
    (dep.value / "a").write_bytes(b"between two runs")
    deps.begin("#1", "#1", [dep])
    deps.end("#1", [dep])
    assert warnings(caplog) == []


def test_a_change_is_told_once_to_all_that_ran(
    dep: PathSlot, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changed_deps, "_PAUSE", 0.0)
    deps = ChangedDeps()
    for name in ("#0", "#1"):
        deps.begin(name, name, [dep])
    (dep.value / "new").touch()
    deps.end("#0", [dep])
    deps.end("#1", [dep])
    [warning] = warnings(caplog)
    assert "while #0, #1 ran" in warning
