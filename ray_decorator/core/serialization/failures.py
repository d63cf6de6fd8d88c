"""An exception as data that travels from a worker, and back into an exception on the driver."""

from __future__ import annotations

import os
import traceback

from ..errors import JobError, RemoteTraceback
from ..values.model import Failure
from .exceptions import pack, summary_of, unpack

_OURS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "")


def failure_of(exc: BaseException) -> Failure:
    """An exception as data, with its traceback as text from the first frame that is not ours."""
    text = "".join(traceback.format_exception(_without_our_frames(exc)))
    try:
        pickled = pack(exc)
    except Exception:  # an exception may hold anything; its text travels in any case
        pickled = None
    return Failure(pickled, summary_of(exc), text, kinds_of(type(exc)))


def kinds_of(kind: type[BaseException]) -> tuple[str, ...]:
    """The dotted names of an exception class and of those that it inherits from, its own first."""
    return tuple(f"{each.__module__}.{each.__qualname__}" for each in kind.__mro__)


def add_note(error: BaseException, note: str) -> None:
    """As ``error.add_note``, also where the error's class forbids to set anything: a frozen dataclass, say."""
    vars(error)["__notes__"] = [*getattr(error, "__notes__", ()), note]


def rebuilt(failure: Failure) -> BaseException:
    """The exception that a worker met, of its own type where that is known here.

    The traceback there is the cause of the error or, where it has a cause itself, of the last of its causes.
    """
    error: BaseException
    try:
        error = unpack(failure.pickled) if failure.pickled else JobError(failure.summary)
    except (Exception, SystemExit):  # its class may not exist, or not be buildable, in this process
        error = JobError(failure.summary)
    last = last_cause(error)
    suppress = last.__suppress_context__
    object.__setattr__(last, "__cause__", RemoteTraceback(failure.traceback))
    object.__setattr__(last, "__suppress_context__", suppress)  # as it was raised there
    return error


def last_cause(error: BaseException) -> BaseException:
    """The cause of the cause of … an error; itself where it has none."""
    seen = {id(error)}
    while (cause := error.__cause__) is not None and id(cause) not in seen:
        seen.add(id(cause))
        error = cause
    return error


def _without_our_frames(exc: BaseException) -> BaseException:
    tb = exc.__traceback__
    while tb is not None and tb.tb_next is not None and _is_ours(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    return exc.with_traceback(tb)


def _is_ours(file: str) -> bool:
    return file.startswith(_OURS)  # it is absolute; what is not needs no directory, which may be gone
