"""When a job is run again: what the two options may say, and one counter for all causes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ray_decorator.core.errors import InputError, JobCancelledError, JobDiedError
from ray_decorator.core.options.retries import NO_RETRIES, Retries, retries_of
from ray_decorator.core.values.model import Job

JOB = Job("id", "#0", b"", (), (), False, "/", (), 0)


class Flaky(Exception):
    class Inner(ValueError):
        pass


@pytest.mark.parametrize(
    ("options", "retries"),
    [
        ({}, NO_RETRIES),
        ({"max_retries": None, "retry_exceptions": None}, NO_RETRIES),
        ({"max_retries": 0, "retry_exceptions": False}, NO_RETRIES),
        ({"max_retries": 2}, Retries(2)),
        ({"max_retries": -1}, Retries(None)),
        ({"max_retries": 1, "retry_exceptions": True}, Retries(1, ("builtins.Exception",))),
        (
            {"max_retries": 1, "retry_exceptions": [OSError, Flaky]},
            Retries(1, ("builtins.OSError", f"{__name__}.Flaky")),
        ),
        ({"max_retries": 1, "retry_exceptions": ("OSError",)}, Retries(1, ("builtins.OSError",))),
        # one that is defined elsewhere than it is named
        (
            {
                "max_retries": 1,
                "retry_exceptions": ["json.JSONDecodeError", "xml.etree.ElementTree.ParseError"],
            },
            Retries(1, ("json.decoder.JSONDecodeError", "xml.etree.ElementTree.ParseError")),
        ),
        (
            {"max_retries": 1, "retry_exceptions": [f"{__name__}.Flaky.Inner"]},
            Retries(1, (f"{__name__}.Flaky.Inner",)),
        ),
    ],
)
def test_what_the_options_say(options: dict[str, Any], retries: Retries) -> None:
    assert retries_of(options) == retries


@pytest.mark.parametrize("name", ["app", "package.app"])
def test_an_exception_of_the_running_script_by_the_name_of_its_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"{name.replace('.', '/')}.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text("raise SystemExit('it is not run again')")
    main = ModuleType("__main__")
    main.__file__ = str(file)
    exec("class Mine(Exception): pass", vars(main))
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = retries_of({"max_retries": 1, "retry_exceptions": [f"{name}.Mine"]})
    sys.modules.pop("package", None)
    assert found == Retries(1, ("__main__.Mine",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"max_retries": "many"},
            "max_retries is 'many'; expected how often a job may be run again: 0 or",
        ),
        ({"max_retries": -2}, "max_retries is -2; expected"),
        ({"max_retries": True}, "max_retries is True; expected"),
        ({"max_retries": 1.5}, "max_retries is 1.5; expected"),
        (
            {"retry_exceptions": True},
            "retry_exceptions is set, but max_retries is 0. Set ray_remote_kwargs.m",
        ),
        (
            {"max_retries": 1, "retry_exceptions": "OSError"},
            "retry_exceptions is 'OSError'; expected true, or",
        ),
        ({"max_retries": 1, "retry_exceptions": 3}, "retry_exceptions is 3; expected true, or a list"),
        (
            {"max_retries": 1, "retry_exceptions": ["OSEror"]},
            "'OSEror', which cannot be found here (Attribute",
        ),
        (
            {"max_retries": 1, "retry_exceptions": ["no.such.Error"]},
            "'no.such.Error', which cannot be found here (",
        ),
        (
            {"max_retries": 1, "retry_exceptions": ["json.JSON"]},
            "'json.JSON', which cannot be found here (Attribute",
        ),
        (
            {"max_retries": 1, "retry_exceptions": ["os.path"]},
            "names 'os.path', which is no subclass of Exception",
        ),
        (
            {"max_retries": 1, "retry_exceptions": [SystemExit]},
            "'SystemExit'>, which is no subclass of Exception",
        ),
        ({"max_retries": 1, "retry_exceptions": [None]}, "names None, which is no subclass of Exception"),
    ],
)
def test_what_they_cannot_say(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        retries_of(options)
    [problem] = caught.value.problems
    assert problem.startswith("ray_remote_kwargs.") and message in problem


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InputError) as caught:
        retries_of({"max_retries": "x", "retry_exceptions": ["no.such", "OSEror"]})
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(("most", "follow"), [(0, [False] * 3), (2, [True, True, False]), (None, [True] * 3)])
def test_how_many_attempts_follow(most: int | None, follow: list[bool]) -> None:
    assert [Retries(most).another(attempt) for attempt in (1, 2, 3)] == follow


def test_each_attempt_is_a_job_of_its_own_and_the_last_one_is_told_so() -> None:
    retries = Retries(1, ("builtins.OSError",))
    first, second = retries.job(JOB, 1), retries.job(JOB, 2)
    assert (first.id, first.attempt, first.retry_on) == ("id", 1, ("builtins.OSError",))
    assert (second.id, second.attempt, second.retry_on) == ("id-2", 2, ())
    assert os.sep not in second.id and json.dumps(second.id)


def test_what_is_said_of_a_replaced_attempt_is_one_line() -> None:
    crash = Retries(2).next_one("#3 x=1", 1, JobDiedError("#3 x=1 crashed: it was killed"))
    assert crash == "#3 x=1: attempt 1 of 3 failed, and is replaced by another one (crashed: it was killed)"
    raised = Retries(None).next_one("f", 7, ValueError("one\ntwo"))
    assert "(KeyError: no message)" in Retries(1).next_one("f", 1, KeyError())
    assert raised == "f: attempt 7 failed, and is replaced by another one (ValueError: one)"


def test_the_last_error_says_how_many_attempts_there_were() -> None:
    error = Retries(2).exhausted(OSError("disk"), 3)
    assert error.__notes__ == ["This was attempt 3: ray_remote_kwargs.max_retries is 2"]
    for unsaid in (Retries(2).exhausted(OSError(), 1), Retries(2).exhausted(JobCancelledError("x"), 2)):
        assert not hasattr(unsaid, "__notes__")
