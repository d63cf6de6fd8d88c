"""Which files are whole: those that were closed, and unchanged between two looks."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from trees import tree

from ray_decorator.job.disk import looks as module
from ray_decorator.job.disk.looks import Looks, Seen, recorded, stamps_at

SECONDS = 20.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tree(tmp_path / "scratch", {"state/old": b"old", "state/in/deep": b"deep"})


def whole(seen: Seen, root: Path) -> set[str]:
    return {
        os.path.basename(path)
        for path, stamp in stamps_at(root / "state")
        if seen.is_whole(path, stamp.ctime)
    }


def changed(seen: Seen, root: Path) -> set[str]:
    return {
        os.path.basename(path) for path, stamp in stamps_at(root / "state") if seen.is_changed(stamp.ctime)
    }


def test_what_was_put_down_is_whole_and_what_has_just_changed_is_not_known_to_be(root: Path) -> None:
    looks = Looks(root, [root / "state"])
    with looks:
        seen = recorded(root)
        assert seen is not None and whole(seen, root) == {"old", "deep"} and changed(seen, root) == set()
        (root / "state/new").write_text("new")
        (root / "state/old").write_text("changed")
        assert whole(seen, root) == {"deep"} and changed(seen, root) == {"old", "new"}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody can tell")
def test_at_the_end_what_is_still_open_is_not_whole(root: Path) -> None:
    looks = Looks(root, [root / "state"])
    with looks, open(root / "state/torn", "w") as torn:
        (root / "state/closed").write_text("closed")
        torn.write("half")
        torn.flush()
    with open(root / "state/torn", "a"):
        seen = looks.last()
        assert whole(seen, root) == {"old", "deep", "closed"}
        assert recorded(root) == seen
    assert whole(looks.last(), root) == {"old", "deep", "closed", "torn"}


def test_while_the_job_runs_it_is_looked_at_again_and_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.01)
    monkeypatch.setattr(module, "_SHARE", 1)
    with Looks(root, [root / "state"]):
        (root / "state/new").write_text("new")
        deadline = time.monotonic() + SECONDS
        while "new" not in whole(recorded(root) or Seen(0, 0), root) and time.monotonic() < deadline:
            time.sleep(0.01)
        seen = recorded(root)
        assert seen is not None and whole(seen, root) == {"old", "deep", "new"}
    (root / "state/new").write_text("torn since")
    assert whole(seen, root) == {"old", "deep"}


def test_a_job_that_has_not_started_has_no_record(root: Path) -> None:
    assert recorded(root) is None
    with Looks(root, []):
        assert recorded(root) is not None


@pytest.mark.parametrize("text", ["", "[]", '{"started": 1, "settled": 2, "open": []}', '{"started": 1, "op'])
def test_by_a_record_that_cannot_be_read_all_is_the_jobs_and_nothing_is_whole(root: Path, text: str) -> None:
    with Looks(root, [root / "state"]):
        record = root / module._LOOKS
    record.write_text(text)
    seen = recorded(root)
    assert seen is not None and whole(seen, root) == set() and changed(seen, root) == {"old", "deep"}
