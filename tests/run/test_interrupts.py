"""Ctrl-C, SIGTERM and SIGHUP stop a run; handlers of the program's own stay."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ray_decorator.run import interrupts

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(autouse=True)
def defaults(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(interrupts, "_told", [])
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in SIGNALS[1:]:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_ctrl_c_is_a_keyboard_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts.stop_the_run():
        assert not interrupts.came()
        os.kill(os.getpid(), signal.SIGINT)
    assert interrupts.came()


@pytest.mark.parametrize("number", SIGNALS[1:])
def test_the_others_exit_with_the_shells_code(number: signal.Signals) -> None:
    with pytest.raises(SystemExit) as raised, interrupts.stop_the_run():
        os.kill(os.getpid(), number)
    assert raised.value.code == EXIT_CODES[number]


def test_after_a_run_all_is_as_before() -> None:
    with interrupts.stop_the_run():
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_handlers_of_the_programs_own_and_ignored_signals_stay() -> None:
    def own(*_: object) -> None: ...

    signal.signal(signal.SIGTERM, own)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interrupts.stop_the_run():
        assert signal.getsignal(signal.SIGTERM) is own
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is own


def test_what_is_to_be_told_is_told_first_and_stays_after_a_run() -> None:
    told: list[int] = []
    interrupts.install(lambda: told.append(1))
    with interrupts.stop_the_run():
        pass
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert told == [1]


def test_what_took_the_signal_meanwhile_is_replaced() -> None:
    libc = ctypes.CDLL(None)
    with pytest.raises(SystemExit), interrupts.stop_the_run():
        assert libc.signal(signal.SIGTERM, signal.SIG_IGN.value) != -1  # behind Python's back, as Ray does
        os.kill(os.getpid(), signal.SIGTERM)
        interrupts.renew()
        os.kill(os.getpid(), signal.SIGTERM)


_DEAF = """
import os, signal, sys, time
from ray_decorator.run import interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
number = int(sys.argv[1])
try:
    with interrupts.stop_the_run():
        os.kill(os.getpid(), number)
except BaseException as exc:
    print(type(exc).__name__, flush=True)
try:
    os.kill(os.getpid(), number)
except BaseException as exc:
    print(type(exc).__name__, flush=True)
try:
    os.kill(os.getpid(), number)
except BaseException:
    print("not reached")
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_the_third_one_is_obeyed_at_once(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _DEAF, str(int(number))], capture_output=True, text=True, timeout=60
    )
    kind = "KeyboardInterrupt" if number == signal.SIGINT else "SystemExit"
    assert done.stdout.split() == [kind, kind]
    assert done.returncode == EXIT_CODES[number]
    assert done.stderr == "\nLeft at once: jobs may still be running, and what they wrote is not here.\n"


_ENDING = """
import atexit, os, signal, sys, types
from ray_decorator.run import interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
ending = types.ModuleType(sys.argv[1])
ending.__dict__.update(os=os, signal=signal)
exec("def end(signals):\\n for _ in range(signals): os.kill(os.getpid(), signal.SIGINT)", vars(ending))
atexit.register(ending.end, int(sys.argv[2]))
interrupts.at_the_end()
"""


@pytest.mark.parametrize(
    ("module", "signals", "code", "shown"),
    [("ray._private.worker", 2, 0, False), ("ray", 3, 130, False), ("app", 1, 0, True)],
)
def test_at_the_end_none_shows_what_ray_does(module: str, signals: int, code: int, shown: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ENDING, module, str(signals)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code
    assert ("KeyboardInterrupt" in done.stderr) is shown, done.stderr


@pytest.mark.parametrize("module", ["ray", "app"])
def test_at_the_end_of_a_run_that_was_stopped_twice_the_third_one_says_what_it_leaves(module: str) -> None:
    program = _ENDING.replace("interrupts.at_the_end()", "interrupts._count = 2; interrupts.at_the_end()")
    done = subprocess.run(
        [sys.executable, "-c", program, module, "1"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 130
    assert done.stderr == "\nLeft at once: jobs may still be running, and what they wrote is not here.\n"
