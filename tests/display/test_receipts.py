"""The table of receipts."""

from __future__ import annotations

import pytest

from ray_decorator.core.records.records import JobRecord, Left
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.returned import value_of
from ray_decorator.display.receipts import show_receipts

DONE = JobRecord(
    "a" * 64, "run", "train", ("lr=0.1", "seed=1"), "COMPLETED", value_of(0.123456), seconds=2.25, node="host/1",
    outs=(Left("model", Content("0" * 32, 3_000_000, 1)),), workspace=Left("dir", None, "/sweep/0"), ended=1e9,
)  # fmt: skip


def test_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    failed = JobRecord("b" * 64, "run", "train", ("lr=9",), "FAILED", error="ValueError: no", ended=1e9)
    unheld = JobRecord("c" * 64, "run", "train", (), "COMPLETED", value_of({1, 2}), ended=1e9)
    show_receipts([DONE, failed, unheld])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["when", "app", "overrides", "status", "value", "node", "seconds", "bytes"]
    assert lines[0].split()[2:] == [
        "train", "lr=0.1", "seed=1", "COMPLETED", "0.1235", "host/1", "2.2", "3.0", "MB",
    ]  # fmt: skip
    assert lines[1].split()[3:6] == ["lr=9", "FAILED", "ValueError"]
    assert "COMPLETED  not JSON" in lines[2]


def test_nothing_from_a_store_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    show_receipts(
        [JobRecord("a" * 64, "run", "\x1b[2Jtrain", ("x=\x07\n1",), "COMPLETED", value_of("\x1b]0;"))]
    )
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out and "�[2Jtrain" in out and "x=��1" in out
