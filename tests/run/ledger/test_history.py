"""The receipts in a store."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from ray_decorator.core.options.settings import Options
from ray_decorator.core.records.records import JOBS, JobRecord, dump, job_key
from ray_decorator.run.ledger.history import receipts
from ray_decorator.store.store import Store

RECORD = JobRecord("", "run", "app", ("x=1",), "COMPLETED")


def test_all_are_found_the_newest_last(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    settings = Options(s3_base_path=store.url).resolve()
    assert receipts(settings) == []
    made = [replace(RECORD, id=f"{n}" * 64, app="ab"[n % 2], ended=float(9 - n)) for n in range(4)]
    for record in made:
        store.put(job_key(record.id), dump(record) or b"")
    store.put(f"{JOBS}/no receipt.json", b"{}")
    store.put(f"{JOBS}/other", b"")
    with caplog.at_level(logging.WARNING):
        assert receipts(settings) == made[::-1]
    assert len(caplog.messages) == 1 and "is no receipt" in caplog.messages[0]
    assert receipts(settings, "a") == [made[2], made[0]]
