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

LOGGERS = ("a.level", "a.handler", "a.file", "a.filter", "a.kind", "ray.own")


class Hides(logging.Filter):
    def __init__(self, word: str) -> None:
        self.word = word

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = str(record.msg).replace(self.word, "***")
        return True


class Loud(logging.Logger):
    __module__ = "__main__"

    def shout(self, text: str) -> None:
        self.warning(text.upper())


class Ranked(logging.LogRecord):
    rank = 3


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
        loggers["a.filter"].addFilter(Hides("hunter2"))
        held = sys._getframe()
        loggers["a.filter"].addFilter(lambda record: held is not None)  # stays at home
        loggers["a.kind"].__class__ = Loud
        logging.setLoggerClass(Loud)
        logging.addLevelName(25, "NOTICE")
        logging.disable(logging.DEBUG)
        logging.setLogRecordFactory(Ranked)
        found: Settings = pickle.loads(pickling.dumps(captured(), "the settings"))
    logging.addLevelName(25, "Level 25")
    logging.disable(logging.NOTSET)
    logging.setLogRecordFactory(logging.LogRecord)
    logging.setLoggerClass(logging.Logger)
    loggers["a.kind"].__class__ = logging.Logger
    for each in loggers.values():
        each.setLevel(logging.NOTSET)
        each.propagate = True
        each.filters.clear()
        for old in list(each.handlers):
            each.removeHandler(old)
            old.close()
    yield found


def state() -> list[object]:
    named = [logging.getLogger(name) for name in (None, *LOGGERS)]
    loggers = [
        (each.level, each.propagate, each.disabled, list(each.handlers), list(each.filters)) for each in named
    ]
    making = [logging.root.manager.disable, logging.getLogRecordFactory(), logging.getLoggerClass()]
    making.append([type(each) for each in named])
    return [making, loggers, list(warnings.filters), warnings.showwarning, sys.getrecursionlimit()]


def test_it_is_so_for_the_time_being(there: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    umask, limit = os.umask(0o022), sys.getrecursionlimit()
    os.umask(umask)
    before = state()
    asked = replace(there, recursion_limit=limit + 500, umask=0o071, captures_warnings=True)
    with installed(asked):
        with pytest.raises(UserWarning, match="of mine"):
            warnings.warn("of mine", stacklevel=1)
        assert warnings.showwarning is not before[3]
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


def test_filters_of_loggers_and_who_makes_records(there: Settings, caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("a.filter")
    with caplog.at_level(logging.DEBUG), installed(there):
        log.debug("disabled")
        log.warning("the word is hunter2")
    [record] = caplog.records
    assert record.getMessage() == "the word is ***"
    assert type(record) is Ranked


def test_loggers_of_the_scripts_own_class(there: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with installed(there):
        for name in ("a.kind", "a.later one"):
            logging.getLogger(name).shout("help")  # type: ignore[attr-defined]
    assert [record.getMessage() for record in caplog.records] == ["HELP", "HELP"]


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
