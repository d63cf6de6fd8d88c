"""What a script has set up for its process holds where its task runs, and no longer than it runs."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ray_decorator.core.serialization import pickling
from ray_decorator.frontends.script import settings as script_settings
from ray_decorator.frontends.script.settings import Settings, captured, installed

LOGGERS = ("a.level", "a.handler", "a.file", "ray.own")


@pytest.fixture
def there() -> Iterator[Settings]:
    """What a script has set up, as it comes to a worker; this process has none of it."""
    loggers = {name: logging.getLogger(name) for name in LOGGERS}
    with warnings.catch_warnings(), open(1, "w", closefd=False) as stdout:
        warnings.filterwarnings("error", message="of mine", category=UserWarning)
        loggers["a.level"].setLevel(logging.ERROR)
        loggers["ray.own"].setLevel(logging.ERROR)
        loggers["a.handler"].addHandler(handler := logging.StreamHandler(stdout))
        handler.setFormatter(logging.Formatter("MINE %(levelname)s %(message)s"))
        loggers["a.handler"].propagate = False
        loggers["a.file"].addHandler(logging.FileHandler(os.devnull))
        loggers["a.file"].propagate = False
        logging.addLevelName(25, "NOTICE")
        found: Settings = pickle.loads(pickling.dumps(captured(), "the settings"))
    logging.addLevelName(25, "Level 25")
    for each in loggers.values():
        each.setLevel(logging.NOTSET)
        each.propagate = True
        for old in list(each.handlers):
            each.removeHandler(old)
            old.close()
    yield found


def state() -> list[object]:
    named = [logging.getLogger(name) for name in (None, *LOGGERS)]
    loggers = [(each.level, each.propagate, each.disabled, list(each.handlers)) for each in named]
    return [loggers, list(warnings.filters), warnings.showwarning, sys.getrecursionlimit()]


def test_it_is_so_for_the_time_being(there: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    umask, limit = os.umask(0o022), sys.getrecursionlimit()
    os.umask(umask)
    before = state()
    asked = replace(there, recursion_limit=limit + 500, umask=0o071, captures_warnings=True)
    with installed(asked):
        with pytest.raises(UserWarning, match="of mine"):
            warnings.warn("of mine", stacklevel=1)
        assert warnings.showwarning is not before[2]
        assert logging.getLogger("a.level").level == logging.ERROR
        assert logging.getLogger("ray.own").level == logging.NOTSET  # not of the script
        assert logging.getLevelName(25) == "NOTICE"
        assert sys.getrecursionlimit() == limit + 500
        now = os.umask(0o071)
        assert now == 0o071
    assert state() == before
    assert os.umask(umask) == umask


def test_handlers_that_print_go_along_and_others_do_not(
    there: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with installed(there):
        logging.getLogger("a.handler").warning("to stdout")
        assert logging.getLogger("a.file").handlers == []
        assert logging.getLogger("a.file").propagate  # else its lines were lost
    assert capsys.readouterr().out == "MINE WARNING to stdout\n"


def test_what_nothing_here_can_be_of_is_left_out(there: Settings) -> None:
    known = there.filters[0]
    gone = ("ignore", None, ("not.here", "Warned"), None, 0)
    inner = ("ignore", None, ("logging", "Not.There"), None, 0)
    with installed(replace(there, filters=[gone, inner, known])):
        assert len(warnings.filters) == 1


def test_a_formatter_that_nobody_has_here_costs_the_format_alone(
    there: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = script_settings._Handler(1, logging.NOTSET, b"cnot.here\nFormatter\n.")
    logger = script_settings._Logger(logging.INFO, propagate=False, disabled=False, handlers=(handler,))
    with installed(replace(there, loggers={"a.handler": logger})):
        logging.getLogger("a.handler").info("as it is")
    assert capsys.readouterr().out == "as it is\n"
