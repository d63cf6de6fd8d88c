"""An exception as data, and back: its own type where that can be, its text and traceback always."""

from __future__ import annotations

import importlib
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ray_decorator.core.errors import JobError, RemoteTraceback
from ray_decorator.core.serialization.failures import add_note, failure_of, rebuilt
from ray_decorator.core.slots import fill
from ray_decorator.core.values.model import Failure


class _Own(Exception):
    def __init__(self, code: int, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


class _Locked(Exception):
    def __init__(self) -> None:
        super().__init__("it holds a lock")
        self.lock = threading.Lock()


def met(exc: BaseException) -> Failure:
    try:
        raise exc
    except BaseException as caught:
        return failure_of(caught)


def test_a_note_is_added_to_what_lets_nothing_be_set() -> None:
    @dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    error = Frozen(1)
    add_note(error, "first")
    add_note(error, "second")
    assert error.__notes__ == ["first", "second"]


def test_an_exception_keeps_its_type_and_its_traceback_is_the_cause() -> None:
    error = rebuilt(met(KeyError("gone")))
    assert type(error) is KeyError and error.args == ("gone",)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "in met\n    raise exc\n" in str(error.__cause__) and "KeyError: 'gone'" in str(error.__cause__)


@pytest.mark.parametrize("exc", [_Locked(), _Own(3, "x")], ids=["holds a lock", "own signature"])
def test_what_python_cannot_rebuild_keeps_its_type(exc: Exception) -> None:
    error = rebuilt(met(exc))
    assert type(error) is type(exc) and str(error) == str(exc)
    assert "raise exc" in str(error.__cause__)


def test_what_cannot_be_rebuilt_keeps_its_text() -> None:
    class Unpicklable(Exception):
        lock = threading.Lock()  # a class of a function travels by value, with all that it holds

    failure = met(Unpicklable("words"))
    assert failure.pickled is None
    error = rebuilt(failure)
    assert type(error) is JobError
    assert str(error) == "Unpicklable: words"
    assert "raise exc" in str(error.__cause__)


def test_causes_stay_and_the_traceback_is_the_last_of_them() -> None:
    error = _Own(1, "outer")
    error.__cause__ = KeyError("inner")
    again = rebuilt(met(error))
    inner = again.__cause__
    assert type(again) is _Own and type(inner) is KeyError and again.__suppress_context__
    assert isinstance(inner.__cause__, RemoteTraceback) and "raise exc" in str(inner.__cause__)
    assert not inner.__suppress_context__


def test_a_class_that_ends_the_process_when_it_is_imported_is_a_job_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_script.py").write_text("class Error(Exception): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    failure = met(importlib.import_module("a_script").Error("x"))
    (tmp_path / "a_script.py").write_text("import sys\nsys.exit('not imported, but run')\n")
    monkeypatch.delitem(sys.modules, "a_script")
    importlib.invalidate_caches()
    error = rebuilt(failure)
    assert type(error) is JobError and str(error) == "Error: x"


def test_what_cannot_be_loaded_here_keeps_its_text() -> None:
    error = rebuilt(Failure(b"no pickle at all", "Strange: words", "Traceback …"))
    assert type(error) is JobError and str(error) == "Strange: words"


def test_system_exit_is_an_exception_like_others() -> None:
    error = rebuilt(met(SystemExit(3)))
    assert isinstance(error, SystemExit) and error.code == 3


def test_a_traceback_begins_where_our_own_frames_end() -> None:
    class Deep(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise LookupError(key)

    try:
        fill(Deep(a=1), ("a", "b"), "/x")  # a frame of ours, and then one that is not
    except LookupError as exc:
        exc.__traceback__ = exc.__traceback__.tb_next if exc.__traceback__ else None
        text = failure_of(exc).traceback
    assert "slots.py" not in text and "in __getitem__" in text
