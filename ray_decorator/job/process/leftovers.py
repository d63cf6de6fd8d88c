"""Nothing outlives a job unasked: its threads are waited for, and its processes are ended.

A job is done when a program at home is: when its non-daemon threads and multiprocessing's non-daemon processes are,
and its ``atexit`` functions (exits.py) were called. Threads and processes of an executor that has no work, and the
server of a multiprocessing manager, are not waited for: Python ends these by itself. A cancelled job waits for
nothing, and 5 s for its ``atexit`` functions.

Pools, managers and queues of multiprocessing that the job leaves open are ended as Python does it: told, and not
killed, for whoever ends them later would wait for a lock that a killed process holds.

Then all other processes that the job has started get SIGTERM, and SIGKILL after 5 s. On Linux these are also the ones
in sessions of their own. What shall live on is started with ``RAY_S3_KEEP=1`` in its environment, and in a session
of its own, so that it also outlives the job's process. Detached actors of Ray are not processes of the job.

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
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from . import exits, processes

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

_KEEP = "RAY_S3_KEEP=1"
_TERM_SECONDS = 5.0
_KILL_SECONDS = 2.0
_SAY_SECONDS = 10.0
_CANCELLED_SECONDS = 5.0
_TICK = 0.02
_SUBREAPER, _GET_SUBREAPER = 36, 37  # PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER of <linux/prctl.h>
# Python's own helpers: shared by all jobs of a process, and gone when it is
_HELPERS = ("resource_tracker import main", "multiprocessing.forkserver import main")

_LIBRARY = re.compile(
    rf"^<frozen |[/-]packages/|^{re.escape(os.path.dirname(os.__file__))}/|/ray_decorator/(?:[a-z]+/)+\w+\.py$"
)


class _Waited(Protocol):
    """A thread, or a process of multiprocessing."""

    name: str

    def join(self, timeout: float | None = None) -> None: ...


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """At the end, wait for what was started meanwhile, call what was registered with ``atexit``, and end processes.

    ``name`` is the job's.
    """
    threads, before = set(threading.enumerate()), set(processes.children(os.getpid()))
    locks, was_subreaper = _locks(), adopt_orphans(True)
    finalizers = set(_finalizers())
    wait = True
    with exits.noted(lambda: bool(_locks() > locks or _new_processes(before))) as registered:
        try:
            yield
        except KeyboardInterrupt:  # cancelled
            wait = False
            raise
        except Exception:
            if registered.is_here():
                registered.tell_exit(1)
            raise
        finally:
            if registered.is_here():  # else a child that the job forked has come out of it
                try:
                    _end_as_python(name, registered, threads, before, wait)
                finally:
                    _finalize(finalizers)
                    _end_children(before)
                    adopt_orphans(was_subreaper)


def _end_as_python(
    name: str, registered: exits.Registered, threads: set[threading.Thread], before: set[int], wait: bool
) -> None:
    registered.add_imported()
    try:
        if wait:
            _wait_for(name, "threads", lambda: _busy_threads(threads))
            registered.call_first()
            _wait_for(name, "processes", lambda: _busy_processes(before))
            registered.call_all()
    finally:  # also where it is cancelled meanwhile
        registered.call_all_within(_CANCELLED_SECONDS)


class Before:
    """The threads and children of this process at a moment."""

    def __init__(self) -> None:
        self._ended = exits.libraries_ended()
        self._threads, self._children = set(threading.enumerate()), set(processes.children(os.getpid()))

    def is_left(self) -> bool:
        """Whether a job has left any since: a child that lives, or a thread that is in code of no library.

        Or whether a library that it used has ended here for good.

        Python's and libraries' own helpers (tqdm's monitor, a pool that has no work) are not the job's.
        """
        threads = [each for each in threading.enumerate() if each not in self._threads]
        children = set(processes.children(os.getpid())) - self._children
        return (
            exits.libraries_ended() != self._ended
            or any(map(_is_in_job_code, threads))
            or any(processes.runs(p) and not _is_helper(p) for p in children)
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


def _wait_for(name: str, what: str, busy: Callable[[], Sequence[_Waited]]) -> None:
    started, said = time.monotonic(), False
    while waited := busy():
        if not said and time.monotonic() - started > _SAY_SECONDS:
            said = True
            names = ", ".join(sorted(each.name for each in waited))
            print(f"ray-s3: {name} waits for its {what} ({names})", file=sys.stderr, flush=True)
        waited[0].join(_TICK)


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


def _new_processes(before: set[int]) -> list[BaseProcess]:
    """What the job has started by multiprocessing, and what runs."""
    if (multiprocessing := sys.modules.get("multiprocessing")) is None:
        return []
    return [each for each in multiprocessing.active_children() if each.pid not in before]


def _busy_processes(before: set[int]) -> list[BaseProcess]:
    """Those that multiprocessing would join at Python's exit. It ends those that its finalizers have (managers')."""
    pooled = {
        pid
        for thread in threading.enumerate()
        if hasattr(thread, "pending_work_items")
        and isinstance(of := getattr(thread, "processes", None), dict)
        for pid in tuple(of)
    }
    finalized = {id(part) for each in _finalizers().values() for part in getattr(each, "_args", None) or ()}
    return [
        each
        for each in _new_processes(before)
        if not each.daemon and each.pid is not None and each.pid not in pooled
        and id(each) not in finalized
        and not _is_kept(each.pid)
    ]  # fmt: skip


def _locks() -> int:
    """How many locks, queues and the like of multiprocessing there are, as far as Python tells."""
    return len(getattr(sys.modules.get("multiprocessing.util"), "_afterfork_registry", ()))


def _finalizers() -> dict[Any, Callable[[], object]]:
    """What multiprocessing calls when Python ends, by priority and number, as far as it tells."""
    return dict(getattr(sys.modules.get("multiprocessing.util"), "_finalizer_registry", {}))


def _finalize(before: set[Any]) -> None:
    """Call those that are new, in Python's order, but for the ones that it calls last: of what serves all jobs."""
    found = _finalizers()
    new = [key for key in found if key not in before and key[0] is not None and key[0] >= 0]

    def call() -> None:
        for key in sorted(new, reverse=True):
            try:
                found[key]()
            except Exception:
                traceback.print_exc()

    if new:
        thread = threading.Thread(target=call, name="finalizers", daemon=True)
        thread.start()
        thread.join(_TERM_SECONDS)


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
