"""What a dep held while a job read it in place, and where that is not certain."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from trees import tree

from ray_decorator.content.looking.fingerprint import fingerprint
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.model import Call, PathSlot
from ray_decorator.run.data.staging import Staging
from ray_decorator.run.jobs import JobMaker
from ray_decorator.run.ledger.certain_deps import CertainDeps


class Reader:
    """A job that reads the directory ``data``, from its start."""

    def __init__(self, root: Path) -> None:
        self.data = tree(root / "data", {"a": b"1", "sub/b": b"2"})
        self.staging = Staging((root / "store").as_uri(), "driver")
        self.deps = CertainDeps(self.staging)

    def start(self) -> None:
        slot = PathSlot.at(("data",), "data", self.data)
        self.call = Call(b"", b"", (slot,), (), "#0")
        self.job = JobMaker("/", (), True, True).make(self.call, {})
        self.seals = {slot.real: fingerprint(slot.real)}
        for real, seal in self.seals.items():
            self.deps.hash(real, seal)

    def contents(self) -> dict[str, Content] | None:
        return self.deps.contents(self.call, self.job, self.seals, {})


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Reader(tmp_path)


def test_one_that_stays_as_it_is_is_certain(reader: Reader) -> None:
    reader.start()
    real = str(reader.data)
    assert reader.contents() == {real: reader.staging.held(reader.data)}
    assert reader.deps.is_known(real, reader.seals[real]) and not reader.deps.is_known(real, "another")
    assert reader.deps.is_known("of which nothing can be said", "")


def test_one_that_changes_while_it_is_hashed(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    real = reader.staging.held

    def held(path: Path, **options: Any) -> Content:
        (reader.data / "a").write_bytes(b"changed")
        return real(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(reader.staging, "held", held)
        reader.start()
    assert reader.contents() is None


def test_one_that_changes_while_the_job_runs_with_the_times_set_back(reader: Reader) -> None:
    reader.start()
    times = os.stat(reader.data / "a")
    (reader.data / "a").write_bytes(b"2")
    os.utime(reader.data / "a", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert reader.contents() is None


def test_one_with_links_to_directories(reader: Reader, tmp_path: Path) -> None:
    os.symlink(tree(tmp_path / "elsewhere", {"c": b"3"}), reader.data / "link")
    reader.start()
    assert reader.contents() is None


def test_one_that_is_not_hashed_yet(reader: Reader) -> None:
    reader.start()
    reader.deps = CertainDeps(reader.staging)
    assert reader.contents() is None
