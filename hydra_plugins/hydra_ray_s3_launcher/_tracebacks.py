"""What a bare run that failed prints: the user's own frames, as Hydra's own run does."""

from __future__ import annotations

import os
import re
import traceback

from ray_decorator.core.errors import RemoteTraceback

_FRAME = re.compile(r'^  (?:\| )*File "(?P<file>[^"]*)", line \d+')
_NOT_THE_USERS = re.compile(
    r"(site|dist)-packages/(hydra|ray|ray_decorator)/|/hydra_plugins/hydra_ray_s3_launcher/"
    r"|/ray_decorator/(core|frontends|job|node|run|cluster)/\w+\.py$"
)


def wanted_in_full() -> bool:
    """Whether the user asked Hydra for complete tracebacks."""
    return os.environ.get("HYDRA_FULL_ERROR", "0") != "0"


def added_here(error: BaseException) -> list[str]:
    """The notes that the driver has added to a job's error, which the worker's traceback does not have."""
    at, seen = error, {id(error)}
    while at.__cause__ is not None and id(at.__cause__) not in seen:
        at = at.__cause__
        seen.add(id(at))
    text = at.text if isinstance(at, RemoteTraceback) else ""
    return [note for note in getattr(error, "__notes__", ()) if note not in text]


def of_the_user(error: BaseException) -> str:
    """The traceback of an exception that a job raised, without Hydra's, Ray's and our frames."""
    cause = error.__cause__
    if isinstance(cause, RemoteTraceback):
        return _without_ours(cause.text) + "".join(f"{note}\n" for note in added_here(error))
    return "".join(traceback.format_exception_only(error))


def _without_ours(text: str) -> str:
    kept: list[str] = []
    ours = False
    for line in text.strip("\n").splitlines():
        if (frame := _FRAME.match(line)) is not None:
            ours = _NOT_THE_USERS.search(frame["file"]) is not None
        elif not line.startswith("    "):
            ours = False
        if not ours:
            kept.append(line)
    return "\n".join(kept) + "\n"
