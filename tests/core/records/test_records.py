"""Receipts and run records as they are written."""

from __future__ import annotations

import json

from ray_decorator.core.records.records import MOST_BYTES, JobRecord, RunRecord, dump, job_key, run_key
from ray_decorator.core.values.returned import value_of


def test_their_keys_are_below_our_own() -> None:
    assert job_key("ab") == "ray_s3/jobs/ab.json"
    assert run_key("20260101T000000Z-0") == "ray_s3/runs/20260101T000000Z-0.json"


def test_they_are_json() -> None:
    data = dump(JobRecord("0" * 64, "run", "app", ("x=1",), "COMPLETED", value_of(1.5)))
    assert data is not None
    assert json.loads(data)["value"] == {"json": 1.5, "is_tuple": False, "why": ""}


def test_one_that_is_too_large_is_none() -> None:
    jobs = tuple(((f"x={number}",), "0" * 64) for number in range(20_000))
    assert dump(RunRecord("run", "app", 0.0, "host", "user", "code", "packages", jobs)) is None
    assert (
        len(dump(RunRecord("run", "app", 0.0, "host", "user", "code", "packages", jobs[:9_000])) or b"")
        < MOST_BYTES
    )
