"""A job's receipt waits for its end marks, and no longer than it must."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ray_decorator.cluster import printed
from ray_decorator.cluster.printed import Printed
from ray_decorator.core.values.model import END_MARK


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printed, "_SECONDS", 3600.0)


@pytest.mark.usefixtures("never")
def test_it_waits_for_as_many_marks_as_there_are() -> None:
    marks, done = Printed(), threading.Event()
    marks.when_whole("a", 2, done.set)
    marks.came(["a", "b"])
    assert not done.is_set()
    marks.came(["a"])
    assert done.is_set()


@pytest.mark.usefixtures("never")
def test_marks_that_come_before_the_receipt_count() -> None:
    marks, done = Printed(), threading.Event()
    marks.came(["a"])
    marks.came(["a"])
    marks.when_whole("a", 2, done.set)
    assert done.is_set()


def test_a_mark_that_does_not_come_is_waited_for_with_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printed, "_SECONDS", 0.05)
    marks, first, second = Printed(), threading.Event(), threading.Event()
    marks.when_whole("a", 1, first.set)
    assert first.wait(30)
    # none has ever come: Ray shows nothing here
    monkeypatch.setattr(printed, "_SECONDS", 3600.0)
    marks.when_whole("b", 1, second.set)
    assert second.is_set()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[SimpleNamespace, list[Any]]]:
    seen: list[Any] = []
    monkeypatch.setattr(printed, "_all", Printed())
    owner = SimpleNamespace(
        emit=lambda data: seen.append(data["lines"]), stdstream=lambda level, msg: seen.append((level, msg))
    )
    yield owner, seen


def test_marks_are_not_shown_by_a_direct_driver(
    shown: tuple[SimpleNamespace, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, seen = shown
    monkeypatch.setattr(printed, "output_source", lambda: (owner, "emit"))
    marks = printed.listen()
    assert marks is not None and printed.listen() is marks
    done: list[str] = []
    for job in ("a1", "b2"):
        marks.when_whole(job, 1, lambda job=job: done.append(job))  # type: ignore[misc]
    owner.emit({"pid": 1, "lines": ["one", f"{END_MARK}a1", "two", f"half{END_MARK}b2"]})
    assert seen == [["one", "two", "half"]] and done == ["a1", "b2"]


@pytest.mark.parametrize("label", ["(#0 x=f(1) pid=12, ip=10.0.0.1) ", "\x1b[36m(#0 x=1 pid=12)\x1b[0m "])
def test_marks_are_not_shown_by_ray_client(
    label: str, shown: tuple[SimpleNamespace, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, seen = shown
    monkeypatch.setattr(printed, "output_source", lambda: (owner, "stdstream"))
    printed.listen()
    text = f"{label}one\n{label}{END_MARK}a1\n{label}half{END_MARK}b2\n"
    owner.stdstream(level=-1, msg=text)
    plain = re.sub("\x1b\\[\\d*m", "", label)  # pytest's own stdout is no terminal
    assert seen == [(-1, f"{plain}one\n{plain}half\n")]


@contextlib.contextmanager
def terminal() -> Iterator[None]:
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as stream, contextlib.redirect_stdout(stream):
        yield
    os.close(master)


BARS = ["\r 1/9", "\r 2/9\r 3/9", "done\r", "\r", "as (f pid=3) is", "a\x0cb\u2028c"]
UNCOVERED = [" 1/9", " 3/9", "done", "", "as (f pid=3) is", "a\x0cb\u2028c"]


def test_on_a_terminal_a_progress_bar_leaves_its_job_s_label_to_be_seen(
    shown: tuple[SimpleNamespace, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, seen = shown
    for name in ("emit", "stdstream"):
        monkeypatch.setattr(printed, "output_source", lambda name=name: (owner, name))
        printed.listen()
    label = "\x1b[36m(#0 x=f(1) pid=12)\x1b[0m "
    with terminal():
        owner.emit({"pid": 1, "is_err": False, "lines": [*BARS, f"\r 9/9{END_MARK}a1"]})
        owner.stdstream(level=-1, msg="".join(f"{label}{line}\n" for line in BARS))
    assert seen[0] == [*UNCOVERED, " 9/9"]
    assert seen[1] == (-1, "".join(f"{label}{line}\n" for line in UNCOVERED))


@pytest.mark.parametrize("name", ["emit", "stdstream"])
def test_a_file_gets_all_that_jobs_print_and_at_once(
    name: str, shown: tuple[SimpleNamespace, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, _ = shown
    owner.emit = lambda data: print("\n".join(data["lines"]))
    owner.stdstream = lambda level, msg: print(msg, end="")
    monkeypatch.setattr(printed, "output_source", lambda: (owner, name))
    printed.listen()
    with open(tmp_path / "out.txt", "w") as stream, contextlib.redirect_stdout(stream):
        if name == "emit":
            owner.emit({"pid": 1, "lines": BARS})
        else:
            owner.stdstream(level=-1, msg="".join(f"{line}\n" for line in BARS))
        assert (tmp_path / "out.txt").read_bytes().decode() == "".join(f"{line}\n" for line in BARS)


def test_where_ray_shows_nothing_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printed, "output_source", lambda: None)
    assert printed.listen() is None
