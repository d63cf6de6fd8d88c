"""Which node has what jobs left: one question for all that are looked for at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ray_decorator.cluster.every_node import Answer
from ray_decorator.cluster.left_behind import LeftBehind
from ray_decorator.core.values.model import Job
from ray_decorator.node.entry import found_here


def job(name: str) -> Job:
    return Job(name, name, b"", (), (), False, "/", (), 0)


def test_many_are_looked_for_at_once() -> None:
    asked: list[list[str]] = []

    def ask(ids: Sequence[str]) -> list[Answer]:
        asked.append(sorted(ids))
        first, second = {"NodeID": "n1"}, {"NodeID": "n2"}
        return [Answer(first, ["a"]), Answer(second, ["c"]), Answer({"NodeID": "n3"}, error="is silent")]

    behind, ready = LeftBehind(ask), threading.Barrier(3)

    def look(name: str) -> str | None:
        ready.wait()
        return behind.node_of(job(name))

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(look, "abc")) == ["n1", None, "n2"]
    assert asked == [["a", "b", "c"]]
    assert behind.node_of(job("a")) == "n1" and asked[1:] == [["a"]]


def test_what_asking_raises_is_raised() -> None:
    def ask(ids: Sequence[str]) -> list[Answer]:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        LeftBehind(ask).node_of(job("a"))


def test_a_node_says_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "node"))
    (tmp_path / "node/jobs/b").mkdir(parents=True, mode=0o700)
    (tmp_path / "node").chmod(0o700)
    assert found_here(["a", "b"]) == ["b"]
