"""What is said where code or packages are not those of the last run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ray_decorator.core.records.job_ids import Surroundings
from ray_decorator.core.records.records import RunRecord, dump, run_key
from ray_decorator.run.ledger.differences import differences
from ray_decorator.store.identity import locate
from ray_decorator.store.store import Store, open_store

AROUND = Surroundings("code", "packages", files=(("0/a.py", "0" * 32), ("0/b.py", "1" * 32)))
RUN = RunRecord("", "train", 1.0, "host", "me", "code", "packages", (), AROUND.files)


@pytest.fixture
def directory(tmp_path: Path) -> Store:
    return open_store(locate(tmp_path.as_uri()))


def put(store: Store, run: RunRecord) -> None:
    store.put(run_key(run.id), dump(run) or b"")


def test_nothing_is_said_where_nothing_changed_or_nothing_is_known(directory: Store) -> None:
    assert differences(directory, "train", AROUND, "now") == ""
    put(directory, replace(RUN, id="1", code="another", app="other"))
    put(directory, replace(RUN, id="2", code="another"))
    put(directory, replace(RUN, id="3"))
    put(directory, replace(RUN, id="4-now", code="another"))
    directory.put(run_key("5"), b"{}")
    assert differences(directory, "train", AROUND, "4-now") == ""


def test_the_files_that_changed_are_named(directory: Store) -> None:
    files = (("0/a.py", "2" * 32), ("0/out.txt", "1" * 32))
    put(directory, replace(RUN, id="1", code="another", packages="others", files=files))
    said = differences(directory, "train", AROUND, "now")
    assert said.startswith(
        "code ('a.py', 'b.py', 'out.txt') and packages changed since the run of 1970-01-01"
    )
    put(directory, replace(RUN, id="2", code="another", files=()))
    assert differences(directory, "train", AROUND, "now").startswith("code changed since")


def test_of_many_files_some_are_named(directory: Store) -> None:
    files = tuple((f"0/{number}.py", "2" * 32) for number in range(9))
    put(directory, replace(RUN, id="1", code="another", files=files))
    assert "('0.py', '1.py', '2.py' and 8 more)" in differences(directory, "train", AROUND, "now")
