"""What a run that failed prints: the user's own frames, as Hydra does for its own launchers."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence

from hydra.errors import CompactHydraException

from ray_decorator.core.errors import JobError, RayS3Error, RemoteTraceback
from ray_decorator.core.serialization.failures import last_cause

_FRAME = re.compile(r'^(?P<margin>  (?:[| ]*  )?)File "(?P<file>[^"]*)", line \d+', re.MULTILINE)
_NOT_THE_USERS = re.compile(
    r"(site|dist)-packages/(hydra|omegaconf|antlr4|ray|ray_decorator)/|/hydra_plugins/hydra_ray_s3_launcher/"
    r"|/ray_decorator/(?:[a-z]+/)+\w+\.py$"
)
# who calls a JobReturn's return_value where Hydra shows what that raises, and ends the program: its own sweeper, in
# a program that was started by its hydra.main
_HYDRA_SHOWS_IT = [
    ("hydra._internal.core_plugins.basic_sweeper", "sweep"),
    ("hydra._internal.hydra", "multirun"),
    ("hydra._internal.utils", "<lambda>"),
    ("hydra._internal.utils", "run_and_report"),
]


def wanted_in_full() -> bool:
    """Whether the user asked Hydra for complete tracebacks."""
    return os.environ.get("HYDRA_FULL_ERROR", "0") != "0"


def added_here(error: BaseException) -> list[str]:
    """The notes that the driver has added to a job's error, which the worker's traceback does not have."""
    text = _from_worker(error) or ""
    return [note for note in getattr(error, "__notes__", ()) if note not in text]


def of_the_user(error: BaseException) -> str:
    """The traceback of an exception that a job raised, without Hydra's, OmegaConf's, Ray's and our frames."""
    if (text := _from_worker(error)) is not None:
        return _without_ours(text) + "".join(f"{note}\n" for note in added_here(error))
    return "".join(traceback.format_exception_only(error))


def is_message_enough(error: BaseException) -> bool:
    """Whether an error shows its message alone: Hydra's compact ones do, and ours.

    A JobError that stands for an exception that could not travel shows the traceback of that one.
    """
    if type(error) is JobError and isinstance(error.__cause__, RemoteTraceback):
        return _FRAME.search(of_the_user(error)) is None
    return isinstance(error, RayS3Error | CompactHydraException)


def end_as_hydra(error: BaseException, overrides: Sequence[str] | None) -> None:
    """Print the user's traceback and end the program, as Hydra does. Returns where Hydra itself is to show the error.

    Hydra would show its own frames, and the worker's traceback as if it were another error.
    """
    if is_message_enough(error) or wanted_in_full():
        return
    print(f"Error executing job with overrides: {overrides}", file=sys.stderr)
    print(of_the_user(error), file=sys.stderr)
    print("Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.", file=sys.stderr)
    raise SystemExit(1)


def does_hydra_show_it() -> bool:
    """For a property of a JobReturn: whether what it raises reaches nobody but Hydra, which shows it and ends."""
    frame = sys._getframe(1).f_back
    for expected in _HYDRA_SHOWS_IT:
        if frame is None or (frame.f_globals.get("__name__"), frame.f_code.co_name) != expected:
            return False
        frame = frame.f_back
    return True


def _from_worker(error: BaseException) -> str | None:
    last = last_cause(error)
    return last.text if isinstance(last, RemoteTraceback) else None


def _without_ours(text: str) -> str:
    kept: list[str] = []
    ours, margin = False, ""
    for line in text.strip("\n").splitlines():
        if (frame := _FRAME.match(line)) is not None:
            ours, margin = _NOT_THE_USERS.search(frame["file"]) is not None, frame["margin"]
        elif not line.startswith((f"{margin}  ", f"{margin}[Previous line repeated ")):
            ours = False
        if not ours:
            kept.append(line)
    return "\n".join(kept) + "\n"
