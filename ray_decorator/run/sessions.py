"""The sessions of this process: one for all calls with the same settings, closed when the program ends.

Ctrl-C, SIGTERM and SIGHUP cancel what was submitted: a program that ends by them does not wait for jobs that nobody
wants any more.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import threading

from ..core.errors import InputError
from ..core.machine import at_exit
from ..core.options.s3_account import S3Account
from ..core.options.settings import Settings
from ..core.values.inherited import JOB
from ..core.values.stores import DvcDirectory
from ..project import driver
from . import interrupts
from .session import Session, ShowProgress

_sessions: dict[tuple[str, str, str, S3Account | DvcDirectory | None], Session] = {}
_lock = threading.Lock()
_interrupted = threading.Event()


def session_for(settings: Settings, show_progress: ShowProgress) -> Session:
    """The session with these settings, for a program that is in the directory where it is now.

    Raises InputError where that directory is gone.
    """
    key = (
        repr(settings),
        driver.working_directory(),
        _identity(),
        settings.account,
    )  # whose keys are in no repr
    with _lock:
        session = _sessions.get(key)
        if session is not None and session.usable:
            return session
        _prepare_the_end()
        _sessions[key] = Session(settings, show_progress)
    if session is not None:
        session.close(cancel=True)
    return _sessions[key]


def refuse_to_nest() -> None:
    """Raise InputError in a process that a job of ours has started, unless RAY_S3_NESTED is 1.

    The job's own process may use Ray: it lends its CPUs while it waits.
    """
    job = os.environ.get(JOB, "")
    if job not in ("", str(os.getpid())) and os.environ.get("RAY_S3_NESTED") != "1":
        raise InputError(
            f"this process was started by a job that runs on Ray already ({JOB} is {job}, the job's process). "
            "It may not send work to Ray once more, which could wait for CPUs that the job itself holds. Run it "
            "here (hydra/launcher=basic, or .local of a decorated function), or set RAY_S3_NESTED=1 to send it to "
            "Ray all the same"
        )


def cancel_on_interrupt() -> None:
    """From now on, Ctrl-C (SIGTERM, SIGHUP) cancels what was submitted, and then does what it does."""
    _interrupted.clear()  # what is submitted from now on is wanted
    interrupts.install(_on_interrupt)


def close_all() -> None:
    """Close all sessions: wait for what was submitted, or cancel it where the program ended by Ctrl-C."""
    with _lock:
        sessions = list(_sessions.values())
        _sessions.clear()
    cancel = _interrupted.is_set() or _ended_by_interrupt()
    for session in sessions:
        try:
            session.close(cancel=cancel)
        except KeyboardInterrupt:  # nobody wants to wait any longer
            cancel = True


def _identity() -> str:
    """What of the environment decides who we are to a store, as a digest: it may hold secrets."""
    named = sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))
    return hashlib.sha256(repr(named).encode()).hexdigest()


@functools.cache
def _prepare_the_end() -> None:
    at_exit.register(interrupts.at_the_end)  # the last one is called first
    at_exit.register(close_all)
    os.register_at_fork(after_in_child=_sessions.clear)  # a child has none of their threads


def _on_interrupt() -> None:
    _interrupted.set()
    for session in list(_sessions.values()):
        threading.Thread(target=session.cancel_submitted, name="ray-s3-interrupt", daemon=True).start()


def _ended_by_interrupt() -> bool:
    last = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    return isinstance(last, KeyboardInterrupt)
