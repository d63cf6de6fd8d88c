"""A worker process serves many jobs one after another: whatever a job changes of it is put back."""

from __future__ import annotations

import contextlib
import linecache
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from .inheritance import ByPath
from .workplace import start_directory


@contextlib.contextmanager
def restored(cwd_at_home: str, paths_at_home: Sequence[str], otherwise: Path) -> Iterator[None]:
    """The driver's working directory and import paths where they exist here; all as before afterwards.

    ``otherwise`` is the working directory where the driver's is not there, and nothing stands for it.
    """
    cwd, environ, path, argv = working_directory(), dict(os.environ), list(sys.path), list(sys.argv)
    finders = list(sys.meta_path)
    umask = os.umask(0o022)
    os.umask(umask)
    try:
        with _signals_restored(), _logging_restored(), _sources_restored():
            if (start := start_directory()) is not None:
                os.chdir(start)
            else:
                os.chdir(cwd_at_home if os.path.isdir(cwd_at_home) else otherwise)
                here = [entry for entry in paths_at_home if os.path.exists(entry)]
                sys.path[:] = here + [entry for entry in sys.path if entry not in here]
            yield
    finally:
        with contextlib.suppress(OSError):  # it went while the job ran: the next one need not have it either
            os.chdir(cwd or "/")
        os.umask(umask)
        sys.path[:], sys.argv[:] = path, argv
        # what libraries have added stays: it finds their modules for later jobs
        sys.meta_path[:] = [one for one in sys.meta_path if one in finders or not isinstance(one, ByPath)]
        if dict(os.environ) != environ:
            os.environ.clear()
            os.environ.update(environ)


def working_directory() -> str | None:
    """Where this process is; None where that directory is gone, such as the one in which a Ray was started."""
    try:
        return os.getcwd()
    except OSError:
        return None


@contextlib.contextmanager
def _signals_restored() -> Iterator[None]:
    """SIGTERM ends the process and SIGINT interrupts it, as at home; afterwards all is handled as before.

    An alarm that the job has set ends with it: it would end another job.

    Ray handles SIGTERM in Python. The children of a multiprocessing.Pool inherit that: one that is told to
    end just before it waits for a lock only takes note of it, and is waited for for ever. Ray blocks SIGINT, and
    children inherit that, too: nobody could interrupt them.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set any
        yield
        return
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    timers = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
    unset = [timer for timer in timers if signal.getitimer(timer) == (0, 0)]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    if os.getpgid(0) == os.getpid():  # else a Ctrl-C in the driver's terminal would come here, too
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        for timer in unset:
            signal.setitimer(timer, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextlib.contextmanager
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        for handler in [h for h in root.handlers if h not in handlers]:
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


@contextlib.contextmanager
def _sources_restored() -> Iterator[None]:
    """The source of a job's notebook cells is of use to that job alone."""
    before = dict(linecache.cache)
    try:
        yield
    finally:
        linecache.cache.clear()
        linecache.cache.update(before)
