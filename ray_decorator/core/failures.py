"""An exception as data that travels from a worker, and back into an exception on the driver."""

from __future__ import annotations

import os
import pickle
import traceback

import cloudpickle

from . import pickling
from .errors import JobError, RemoteTraceback, text_of
from .model import Failure

_OURS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


def failure_of(exc: BaseException) -> Failure:
    """An exception as data, with its traceback as text from the first frame that is not ours."""
    text = "".join(traceback.format_exception(_without_our_frames(exc)))
    try:
        pickled: bytes | None = cloudpickle.dumps(exc)
        pickle.loads(pickled or b"")
    except Exception:  # an exception may hold anything; its text travels in any case
        pickled = None
    return Failure(pickled, f"{type(exc).__name__}: {text_of(exc)}", text)


def rebuilt(failure: Failure) -> BaseException:
    """The exception that a worker met, with its traceback there as the cause."""
    error: BaseException
    try:
        error = pickling.loads(failure.pickled) if failure.pickled else JobError(failure.summary)
    except Exception:  # its class may not exist, or not be buildable, in this process
        error = JobError(failure.summary)
    error.__cause__ = RemoteTraceback(failure.traceback)
    return error


def _without_our_frames(exc: BaseException) -> BaseException:
    tb = exc.__traceback__
    while tb is not None and tb.tb_next is not None and _is_ours(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    return exc.with_traceback(tb)


def _is_ours(file: str) -> bool:
    return os.path.abspath(file).startswith(_OURS)
