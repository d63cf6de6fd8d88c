"""How the process of a job ended that has died: noted in its attempt's directory, for the rescue to read.

    os._exit, os.abort, a signal that it sends to itself    noted by the process, just before
    however a job on another machine ends                   noted by who waits for its process: node.supervisor

Ray does not tell with which exit code or signal a worker has died. So where a job runs in Ray's own worker, on the
driver's machine, a crash in C code and a kill from elsewhere are not known.

Standard library only: node.supervisor imports it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from ...core.machine.directories import node_root

_NOTE = ".ended"

_exit, _abort, _kill, _raise_signal = os._exit, os.abort, os.kill, signal.raise_signal
_noting: tuple[Path, int] | None = None  # the attempt that runs in this process, and the process


@contextlib.contextmanager
def noted(attempt: Path) -> Iterator[None]:
    """Meanwhile, this process notes in the attempt's directory how it ends itself."""
    global _noting
    # for good: modules that the job imports may keep these functions
    os._exit, os.abort, os.kill, signal.raise_signal = _exits, _aborts, _kills, _raises
    before, _noting = _noting, (attempt, os.getpid())
    try:
        yield
    finally:
        _noting = before


def note(job_id: str, code: int) -> None:
    """Note how the process of the job's newest attempt here has ended: its exit code, -n for signal n."""
    with contextlib.suppress(OSError):
        attempts = sorted(Path(node_root(), "jobs", job_id).iterdir(), key=lambda each: each.stat().st_mtime)
        for attempt in attempts[-1:]:
            _write(attempt, code)


def code_of(attempt: Path) -> int | None:
    """The exit code that was noted, -n for signal n; None where nothing was."""
    try:
        return int((attempt / _NOTE).read_bytes())
    except (OSError, ValueError):  # cut by a full disk
        return None


def _write(attempt: Path, code: int) -> None:
    with contextlib.suppress(OSError):  # the disk is full: it is not known then
        (attempt / _NOTE).write_text(str(code))


def _exits(status: int) -> NoReturn:
    if isinstance(status, int) and (attempt := _own_attempt()) is not None:
        _write(attempt, status & 0xFF)
    _exit(status)


def _aborts() -> NoReturn:
    if (attempt := _own_attempt()) is not None:
        _write(attempt, -signal.SIGABRT)
    _abort()


def _kills(pid: int, sig: int, /) -> None:
    with _noted_if_it_ends(sig if pid == os.getpid() else None):
        _kill(pid, sig)


def _raises(signalnum: int, /) -> None:
    with _noted_if_it_ends(signalnum):
        _raise_signal(signalnum)


@contextlib.contextmanager
def _noted_if_it_ends(number: Any) -> Iterator[None]:
    """Where the signal has not ended the process, nothing is noted afterwards."""
    attempt = _own_attempt()
    if attempt is None or number not in signal.valid_signals() or callable(signal.getsignal(number)):
        yield
        return
    _write(attempt, -int(number))
    try:
        yield
    finally:
        (attempt / _NOTE).unlink(missing_ok=True)


def _own_attempt() -> Path | None:
    """The attempt that this process runs: not one that it has forked from."""
    return _noting[0] if _noting is not None and _noting[1] == os.getpid() else None
