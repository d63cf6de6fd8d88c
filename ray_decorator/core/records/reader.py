"""Records of the ledger as they come from a store: whoever can write there may have made one up.

All that begin with ``load`` take bytes of bounded size, and accept nothing but the very shape that `records` writes.
 What paths may lead to is checked by who follows them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..values.contents import Content, Extras
from ..values.model import CODE, DIRECTORIES
from ..values.returned import Status, Value
from .records import MOST_BYTES, MOST_TEXT, Begun, Checkpoint, JobRecord, Left, RunRecord

_DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?\Z")
_JOB_ID = re.compile(r"[0-9a-f]{64}\Z")
_FAMILY = re.compile(r"[0-9a-f]{32}\Z")
_RUN_ID = re.compile(r"[0-9A-Za-z-]{1,80}\Z")
_T = TypeVar("_T")


def load_job(data: bytes, job_id: str) -> JobRecord:
    """The receipt of this job. Raises ValueError for anything else."""
    with _Checked(data) as fields:
        record = JobRecord(
            id=_text(fields, "id", _JOB_ID),
            run=_text(fields, "run", _RUN_ID),
            app=_text(fields, "app"),
            overrides=_texts(fields["overrides"]),
            status=_status(fields["status"]),
            value=_value(fields["value"]),
            error=_text(fields, "error"),
            traceback=_text(fields, "traceback", most=MOST_BYTES),
            outs=tuple(_each(fields["outs"], _left)),
            workspace=None if fields["workspace"] is None else _left(fields["workspace"]),
            before={key: _digest(each) for key, each in _dict(fields["before"]).items()},
            ended=_seconds(fields["ended"]),
            seconds=_seconds(fields["seconds"]),
            sent=_count(fields["sent"]),
            received=_count(fields["received"]),
            node=_text(fields, "node"),
        )
    if record.id != job_id:
        raise ValueError(f"it is the receipt of {record.id}")
    return record


def load_run(data: bytes, run_id: str) -> RunRecord:
    """The record of this run. Raises ValueError for anything else."""
    with _Checked(data) as fields:
        record = RunRecord(
            id=_text(fields, "id", _RUN_ID),
            app=_text(fields, "app"),
            began=_seconds(fields["began"]),
            host=_text(fields, "host"),
            user=_text(fields, "user"),
            code=_text(fields, "code"),
            packages=_text(fields, "packages"),
            jobs=tuple(_each(fields["jobs"], _job)),
            files=tuple(_each(fields["files"], _file)),
        )
    if record.id != run_id:
        raise ValueError(f"it is the record of {record.id}")
    return record


def load_checkpoint(data: bytes, attempt: int) -> Checkpoint:
    """The checkpoint of this attempt. Raises ValueError for anything else."""
    with _Checked(data) as fields:
        made = Checkpoint(
            attempt=_count(fields["attempt"]),
            at=_seconds(fields["at"]),
            contents=tuple(_each(fields["contents"], _part)),
        )
    if made.attempt != attempt:
        raise ValueError(f"it is the checkpoint of attempt {made.attempt}")
    return made


def load_begun(data: bytes) -> Begun:
    """What a job of an earlier run has begun. Raises ValueError for anything else."""
    with _Checked(data) as fields:
        return Begun(
            job=_text(fields, "job", _FAMILY),
            attempt=_count(fields["attempt"]),
            before={key: _digest(each) for key, each in _dict(fields["before"]).items()},
        )


class _Checked:
    """The dict that the bytes are; whatever a hostile one makes Python raise is a ValueError."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __enter__(self) -> dict[str, Any]:
        if len(self._data) > MOST_BYTES:
            raise ValueError(f"it has {len(self._data)} bytes, more than {MOST_BYTES}")
        try:
            return _dict(json.loads(self._data))
        except RecursionError as exc:
            raise ValueError("it is nested too deeply") from exc

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, KeyError | TypeError | OverflowError):
            raise ValueError(f"{type(error).__name__}: {error}") from error


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found {type(value).__name__}")
    return value


def _each(value: Any, read: Callable[[Any], _T]) -> list[_T]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, found {type(value).__name__}")
    return [read(part) for part in value]


def _string(value: Any, most: int = MOST_TEXT) -> str:
    if not isinstance(value, str) or len(value) > most or "\0" in value:
        raise ValueError(f"expected a text of at most {most} characters, found {str(value)[:40]!r}")
    return value


def _text(
    fields: Mapping[str, Any], name: str, form: re.Pattern[str] | None = None, *, most: int = MOST_TEXT
) -> str:
    text = _string(fields[name], most)
    if form is not None and not form.match(text):
        raise ValueError(f"{name} is {text[:80]!r}")
    return text


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_each(value, _string))


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("expected a number of bytes or files")
    return value


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value < 1e12:
        raise ValueError("expected a number of seconds")
    return float(value)


def _status(value: Any) -> Status:
    if value == "COMPLETED" or value == "FAILED":
        return value  # type: ignore[no-any-return]
    raise ValueError(f"status is {str(value)[:40]!r}")


def _value(value: Any) -> Value:
    fields = _dict(value)
    is_tuple = fields["is_tuple"]
    if not isinstance(is_tuple, bool) or (is_tuple and not isinstance(fields["json"], list)):
        raise ValueError("a tuple that is none")
    return Value(fields["json"], is_tuple, _text(fields, "why"))


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not _DIGEST.match(value):
        raise ValueError(f"{str(value)[:40]!r} is no digest")
    return value


def _part(value: Any) -> tuple[int, Content]:
    index, content = value
    return _count(index), _content(_dict(content))


def _left(value: Any) -> Left:
    fields = _dict(value)
    content = None if fields["content"] is None else _content(_dict(fields["content"]))
    place = _text(fields, "place")
    if place and not place.startswith("/"):
        raise ValueError("a place that is no absolute path")
    if content is None and not place:
        raise ValueError("an out that is nowhere")
    return Left(_text(fields, "key"), content, place, _text(fields, "seal"))


def _content(fields: Mapping[str, Any]) -> Content:
    extras = _dict(fields["extras"])
    return Content(
        digest=_digest(fields["digest"]),
        size=_count(fields["size"]),
        files=_count(fields["files"]),
        executables=_texts(fields["executables"]),
        extras=Extras(
            private=tuple(_each(extras["private"], _private)),
            folders=_texts(extras["folders"]),
            links=tuple(_each(extras["links"], _link)),
        ),
        area=_area(fields["area"]),
    )


def _area(value: Any) -> str:
    if value not in ("", CODE, DIRECTORIES):
        raise ValueError(f"{str(value)[:40]!r} is no area of a store")
    return str(value)


def _private(value: Any) -> tuple[str, int]:
    path, bits = value
    if type(bits) is not int or not 0 <= bits <= 0o77:
        raise ValueError("bits that no group and others have")
    return _string(path), bits


def _link(value: Any) -> tuple[str, str]:
    path, target = value
    return _string(path), _string(target)


def _file(value: Any) -> tuple[str, str]:
    path, md5 = value
    return _string(path), _digest(md5)


def _job(value: Any) -> tuple[tuple[str, ...], str]:
    overrides, job_id = value
    return _texts(overrides), _text({"id": job_id}, "id", _JOB_ID)
