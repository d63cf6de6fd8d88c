"""``ray-s3 jobs``, as a user starts it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ray_decorator import __main__ as command
from ray_decorator.core.records.records import JobRecord, dump, job_key
from ray_decorator.core.values.returned import value_of
from ray_decorator.frontends import jobs_command
from ray_decorator.store.identity import locate
from ray_decorator.store.store import open_store

RECORD = JobRecord("", "run", "train", ("x=1",), "COMPLETED", value_of(0.5))


@pytest.fixture
def url(tmp_path: Path) -> str:
    store = open_store(locate((tmp_path / "store").as_uri()))
    for number in range(3):
        record = replace(RECORD, id=f"{number}" * 64, overrides=(f"x={number}",), ended=float(number))
        store.put(job_key(record.id), dump(record) or b"")
    return store.url


def test_it_lists_what_has_finished(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["jobs", f"s3_base_path={url}", "--app", "train", "--last", "2"]) == 0
    _, *lines, total = capsys.readouterr().out.splitlines()
    assert [line.split()[3:6] for line in lines] == [["x=1", "COMPLETED", "0.5"], ["x=2", "COMPLETED", "0.5"]]
    assert total == f"3 receipts of train in {url}; the last 2 are shown"


def test_without_receipts_it_says_so(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["jobs", f"s3_base_path={url}", "--app", "other"]) == 0
    assert capsys.readouterr().out == f"0 receipts of other in {url}\n"


def test_what_is_wrong_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["jobs", "s3_base_path=ftp://x"]) == 1
    assert capsys.readouterr().err.startswith("ray-s3 jobs: ")
    with pytest.raises(SystemExit):
        jobs_command.main(["--last", "0"], command._settings)
    assert "'0' is no number from 1 on" in capsys.readouterr().err
