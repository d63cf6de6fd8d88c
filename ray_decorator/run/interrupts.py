"""What asks this process to end: Ctrl-C (SIGINT), SIGTERM and SIGHUP. All three stop a run in the same way.

A handler of the program's own stays, and so does a signal that is ignored (``nohup``). The exit code is the shell's:
128 and the signal's number (130, 143, 129). A plain script that Ctrl-C ends does so by SIGINT, as at home (with 1, as
under any Ray, where it has imported that itself: core.machine.at_exit).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_DEFAULTS: dict[int, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
_PATIENCE = 3
"""The signal that is obeyed at once, whatever is still to be brought home."""

_count = 0
_told: list[Callable[[], None]] = []


def install(tell: Callable[[], None] | None = None) -> bool:
    """Stop what runs when such a signal comes, from now on, and count them anew; whether any is handled now.

    Ctrl-C raises KeyboardInterrupt and the others SystemExit, in the main thread, after ``tell`` was called there.
    Does nothing in another thread, where Python takes no handlers.
    """
    global _count
    if threading.current_thread() is not threading.main_thread():
        return False
    _count = 0
    if tell is not None and tell not in _told:
        _told.append(tell)
    installed = False
    for number, default in _DEFAULTS.items():
        if signal.getsignal(number) == default:
            signal.signal(number, _on_signal)
            installed = True
    return installed


@contextlib.contextmanager
def stop_the_run() -> Iterator[None]:
    """`install` for as long as a run lasts; longer where a signal has come, since the end may need another one."""
    installed = install()
    try:
        yield
    finally:
        if installed and not _count and not _told:
            for number, default in _DEFAULTS.items():
                if signal.getsignal(number) is _on_signal:
                    signal.signal(number, default)


def came() -> bool:
    """Whether such a signal has come since `install`."""
    return _count > 0


def renew() -> None:
    """Handle again what is handled: a Ray that has just started takes SIGTERM, and aborts the process at it."""
    if threading.current_thread() is threading.main_thread():
        for number in _DEFAULTS:
            if signal.getsignal(number) is _on_signal:
                signal.signal(number, _on_signal)


def at_the_end() -> None:
    """The program has ended, and so will its Ray: a Ctrl-C during that shows no traceback of Ray's any more.

    The third one is still obeyed at once. Elsewhere, in the program's own hooks, it does what it does.
    """
    ours = (_on_signal, signal.default_int_handler)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) in ours:
        signal.signal(signal.SIGINT, _on_late_interrupt if came() else _on_idle_interrupt)


def _on_late_interrupt(number: int, frame: FrameType | None) -> None:
    """Where the run was stopped already."""
    if _is_third(number, frame):
        _leave(number)


def _on_idle_interrupt(number: int, frame: FrameType | None) -> None:
    """Where nothing runs any more."""
    if _is_third(number, frame):
        os._exit(128 + number)


def _is_third(number: int, frame: FrameType | None) -> bool:
    global _count
    _count += 1
    if _count < _PATIENCE and not _is_in_ray(frame):
        signal.default_int_handler(number, frame)
    return _count >= _PATIENCE


def _is_in_ray(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == "ray":
            return True
        frame = frame.f_back
    return False


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _count
    _count += 1
    if _count >= _PATIENCE and not _is_interactive():
        _leave(number)
    for tell in _told:
        tell()
    if number == signal.SIGINT:
        signal.default_int_handler(number, frame)
    sys.exit(128 + number)


def _leave(number: int) -> None:
    """End this process now. Ray's own end would run into threads that are still at work."""
    with contextlib.suppress(OSError):
        if os.isatty(2):
            os.write(2, b"\x1b[?25h")  # a cursor that a display has hidden
        os.write(2, b"\nLeft at once: jobs may still be running, and what they wrote is not here.\n")
    os._exit(128 + number)


def _is_interactive() -> bool:
    """Whether a person's state would be lost with the process: a notebook or a prompt."""
    return hasattr(sys, "ps1") or bool(sys.flags.interactive) or "ipykernel" in sys.modules
