"""What a job takes over of the driver's process, as a child process would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

JOB = "RAY_S3_JOB"
"""The variable by which a process is known that a job has started: the pid of the job's own process."""


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable of the driver's; ``value`` None where it was unset.

    ``real`` is the value with all links resolved where it is an absolute path, else None.
    """

    value: str | None = field(repr=False)
    real: str | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a job takes over of the driver's process: these variables, and ``argv`` (empty: it has none).

    Both may hold secrets: they are never shown.
    """

    environ: Mapping[str, Variable] = field(repr=False, default_factory=dict)
    argv: tuple[str, ...] = field(repr=False, default=())
