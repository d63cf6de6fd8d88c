"""Nothing outlives a job unasked: its threads are waited for, and its processes are ended.

A job is done when its non-daemon threads are, as a program at home is. Threads of an executor that has no work
are not waited for: Python ends these by itself. Then all processes that the job has started get SIGTERM, and
SIGKILL after 5 s. On Linux these are also the ones in sessions of their own. What shall live on is started with
``RAY_S3_KEEP=1`` in its environment, and in a session of its own, so that it also outlives a job that is
cancelled. Detached actors of Ray are not processes of the job.

Standard library only: node.supervisor imports it.
"""

from __future__ import annotations

import concurrent.futures.thread as pools
import contextlib
import ctypes
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from . import processes

_KEEP = "RAY_S3_KEEP=1"
_TERM_SECONDS = 5.0
_KILL_SECONDS = 2.0
_SAY_SECONDS = 10.0
_TICK = 0.02
_SUBREAPER, _GET_SUBREAPER = 36, 37  # PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER of <linux/prctl.h>
# Python's own helpers: shared by all jobs of a process, and gone when it is
_HELPERS = ("resource_tracker import main", "multiprocessing.forkserver import main")

_LIBRARY = re.compile(
    rf"^<frozen |[/-]packages/|^{re.escape(os.path.dirname(os.__file__))}/|/ray_decorator/[a-z]+/\w+\.py$"
)


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """At the end, wait for the threads, and end the processes, that were started meanwhile. ``name`` is the job's."""
    process, threads, before = os.getpid(), set(threading.enumerate()), set(processes.children(os.getpid()))
    was_subreaper = adopt_orphans(True)
    wait = True
    try:
        yield
    except KeyboardInterrupt:  # cancelled
        wait = False
        raise
    finally:
        if os.getpid() == process:  # else a child that the job forked has come out of it
            try:
                if wait:
                    _wait_for_threads(name, threads)
            finally:
                _end_children(before)
                adopt_orphans(was_subreaper)


class Before:
    """The threads and children of this process at a moment."""

    def __init__(self) -> None:
        self._threads, self._children = set(threading.enumerate()), set(processes.children(os.getpid()))

    def is_left(self, *, kept: bool = True) -> bool:
        """Whether a job has left any since: a child that lives, or a thread that is in code of no library.

        Python's and libraries' own helpers (tqdm's monitor, a pool that has no work) are not the job's. ``kept``:
        whether a child that was told to live on counts.
        """
        spared = _is_helper if kept else _is_kept
        threads = [each for each in threading.enumerate() if each not in self._threads]
        children = set(processes.children(os.getpid())) - self._children
        return any(map(_is_in_job_code, threads)) or any(
            processes.runs(p) and not spared(p) for p in children
        )


def adopt_orphans(adopt: bool) -> bool:
    """Whether descendants whose parents end become children of this process; returns what held before."""
    if sys.platform != "linux":
        return False
    libc, before = ctypes.CDLL(None), ctypes.c_int()
    libc.prctl(_GET_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    if bool(before.value) != adopt:
        libc.prctl(_SUBREAPER, int(adopt), 0, 0, 0)
    return bool(before.value)


def kill_descendants(pid: int, spared: Iterable[int] = ()) -> None:
    """SIGKILL for all that a process has started, but for what was told to live on, and ``spared``."""
    for each in set(processes.descendants(processes.children(pid))) - set(spared):
        if not _is_kept(each):
            _send(each, signal.SIGKILL)


def _wait_for_threads(name: str, before: set[threading.Thread]) -> None:
    started, said = time.monotonic(), False
    while busy := _busy_threads(before):
        if not said and time.monotonic() - started > _SAY_SECONDS:
            said = True
            names = ", ".join(sorted(thread.name for thread in busy))
            print(f"ray-s3: {name} waits for its threads ({names})", file=sys.stderr, flush=True)
        busy[0].join(_TICK)


def _busy_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    new = [each for each in threading.enumerate() if each not in before and not each.daemon]
    # a thread of a pool may be about to begin what it has taken: look twice
    busy = [each for each in new if not _is_idle(each)]
    if new and not busy:
        time.sleep(_TICK)
        busy = [each for each in new if each.is_alive() and not _is_idle(each)]
    return busy


def _is_idle(thread: threading.Thread) -> bool:
    """Whether it belongs to an executor that has nothing to do, which Python itself would end at its exit."""
    if (pending := getattr(thread, "pending_work_items", None)) is not None:  # of a pool of processes
        return not pending
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_code is pools._worker.__code__


def _is_in_job_code(thread: threading.Thread) -> bool:
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if not _LIBRARY.search(frame.f_code.co_filename):
            return True
        frame = frame.f_back
    return False


def _end_children(before: set[int]) -> None:
    def left() -> list[int]:
        new = [pid for pid in processes.children(os.getpid()) if pid not in before]
        return (
            [pid for pid in processes.descendants(new) if processes.runs(pid) and not _is_kept(pid)]
            if new
            else []
        )

    def none_left_after_kill() -> bool:
        pids = left()
        for pid in pids:
            _send(pid, signal.SIGKILL)
        return not pids

    if pids := left():
        for pid in pids:
            _send(pid, signal.SIGTERM)
        if not _within(_TERM_SECONDS, lambda: not left()):
            _within(_KILL_SECONDS, none_left_after_kill)
    _reap(before)


def _reap(before: set[int]) -> None:
    dead = [pid for pid in processes.children(os.getpid()) if pid not in before and not processes.runs(pid)]
    if dead and (multiprocessing := sys.modules.get("multiprocessing")) is not None:
        multiprocessing.active_children()  # it keeps a list of its own
    for pid in dead:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _within(seconds: float, is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not (so := is_so()) and time.monotonic() < deadline:
        time.sleep(_TICK)
    return so


def is_told_to_live_on(pid: int) -> bool:
    """Whether it has RAY_S3_KEEP=1 in its environment."""
    return processes.has_variable(pid, _KEEP)


def _is_kept(pid: int) -> bool:
    return is_told_to_live_on(pid) or _is_helper(pid)


def _is_helper(pid: int) -> bool:
    command = processes.command(pid)
    return any(each in command for each in _HELPERS)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
