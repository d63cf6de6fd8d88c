"""The ledger's files in a store: receipts of jobs, records of runs, checkpoints. JSON alone.

    <base>/ray_s3/jobs/<job id>.json                      JobRecord
    <base>/ray_s3/runs/<run id>.json                      RunRecord
    <base>/ray_s3/checkpoints/<job>/<attempt>.json        Checkpoint; <job> is what its attempts have in common
    <base>/ray_s3/checkpoints/jobs/<job id>.json          Begun

They are read by `reader`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..values.contents import Content
from ..values.returned import Status, Value

JOBS, RUNS, CHECKPOINTS = "ray_s3/jobs", "ray_s3/runs", "ray_s3/checkpoints"
MOST_BYTES = 1024 * 1024
"""How large a record may be. A job or run that needs more leaves none."""
MOST_TEXT = 64 * 1024
"""How many characters a text in a record may have."""


def without_nul(text: str) -> str:
    """The text as a record can hold it, but for its length."""
    return text.replace("\0", "\\0")


@dataclass(frozen=True, slots=True)
class Left:
    """What a job has written to one of its outs.

    ``content`` is in the store, or, with a ``place``, what the path on the driver's machine held. ``seal`` is
    that place's fingerprint (`content.looking.fingerprint`).
    """

    key: str
    content: Content | None = None
    place: str = ""
    seal: str = ""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job that has finished. Times are in seconds: ``ended`` since 1970, ``seconds`` the run time of the task.

    ``workspace`` is the job's own directory. ``before`` is as in `ledger.Entry`. ``sent`` and ``received`` are its
    node's transfers in bytes. ``error`` and ``traceback`` are those of a FAILED one.
    """

    id: str
    run: str
    app: str
    overrides: tuple[str, ...]
    status: Status
    value: Value = field(default_factory=Value)
    error: str = ""
    traceback: str = ""
    outs: tuple[Left, ...] = ()
    workspace: Left | None = None
    before: Mapping[str, str] = field(default_factory=dict)
    ended: float = 0.0
    seconds: float = 0.0
    sent: int = 0
    received: int = 0
    node: str = ""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run: what was started when (seconds since 1970), where, by whom. ``jobs`` are pairs of overrides and job id.

    ``code`` and ``packages`` are digests of what its jobs share; ``files`` are the code's, each with its md5, unless
    they are very many.
    """

    id: str
    app: str
    began: float
    host: str
    user: str
    code: str
    packages: str
    jobs: tuple[tuple[tuple[str, ...], str], ...]
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What an attempt at a job had written at a moment (seconds since 1970): by index in its deps, whole files.

    A store keeps the contents in an area of the attempt's own, which the record does not name.
    """

    attempt: int
    at: float
    contents: tuple[tuple[int, Content], ...]


@dataclass(frozen=True, slots=True)
class Begun:
    """A job that has made a checkpoint, for a later run of the same: ``job`` and ``attempt`` say where that is.

    ``before``: key -> digest of what it both reads and writes, as it was when the job started (`work.Entry`).
    """

    job: str
    attempt: int
    before: Mapping[str, str]


def job_key(job_id: str) -> str:
    """Where a store keeps the receipt of this job."""
    return f"{JOBS}/{job_id}.json"


def run_key(run_id: str) -> str:
    """Where a store keeps the record of this run."""
    return f"{RUNS}/{run_id}.json"


def checkpoint_key(job: str, attempt: int) -> str:
    """Where a store keeps the checkpoint of this attempt."""
    return f"{CHECKPOINTS}/{job}/{attempt}.json"


def begun_key(job_id: str) -> str:
    """Where a store keeps what of a job with this id in the ledger has begun."""
    return f"{CHECKPOINTS}/jobs/{job_id}.json"


def checkpoint_area(job: str, attempt: int) -> str:
    """The area of a store that keeps the contents of this attempt's checkpoint."""
    return f"checkpoints/{job}/{attempt}"


def dump(record: JobRecord | RunRecord | Checkpoint | Begun) -> bytes | None:
    """The record as a store keeps it; None where it is larger than any that is read."""
    data = _JSON.encode(record).encode()
    return data if len(data) <= MOST_BYTES else None


def _plain(part: Any) -> dict[str, Any]:
    """One level of a record, as a dict. ``dataclasses.asdict`` copies all levels, which takes five times as long."""
    kind: Any = type(part)
    return {name: getattr(part, name) for name in _names(kind)}


@functools.cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


_JSON = json.JSONEncoder(separators=(",", ":"), default=_plain)
