"""Records as they come from a store, where anybody may have made them up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ray_decorator.core.records.reader import load_begun, load_checkpoint, load_job, load_run
from ray_decorator.core.records.records import MOST_BYTES, Begun, Checkpoint, JobRecord, Left, RunRecord, dump
from ray_decorator.core.values.contents import Content, Extras
from ray_decorator.core.values.returned import value_of

EXTRAS = Extras((("secret", 0o77),), ("empty",), (("link", "a"),))
JOB = JobRecord(
    id="a" * 64,
    run="20260101T000000Z-0123abcd",
    app="train",
    overrides=("x=1", "y=ü"),
    status="COMPLETED",
    value=value_of((0.5, 1)),
    outs=(Left("model", Content("0" * 32 + ".dir", 5, 2, ("run.sh",), EXTRAS)),),
    workspace=Left("hydra.sweep.subdir", None, "/home/sweep/0", "seal"),
    before={"model": "1" * 32},
    ended=1.5,
    seconds=2.0,
    sent=3,
    received=4,
    node="host/abc",
)
RUN = RunRecord(
    "run", "train", 1.0, "host", "me", "code", "packages", ((("x=1",), "a" * 64),), (("0/a.py", "0" * 32),)
)

CHECKPOINT = Checkpoint(
    2, 1.0, ((0, Content("0" * 32, 5, 1)), (3, Content("1" * 32 + ".dir", 5, 2, (), EXTRAS)))
)


def altered(record: Any, *path: Any, value: Any) -> bytes:
    """The record as JSON, with something else at one place."""
    fields = json.loads(dump(record) or b"")
    at = fields
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    return json.dumps(fields).encode()


def test_what_was_written_is_read() -> None:
    assert load_job(dump(JOB) or b"", JOB.id) == JOB
    assert load_run(dump(RUN) or b"", RUN.id) == RUN
    assert load_checkpoint(dump(CHECKPOINT) or b"", 2) == CHECKPOINT


def test_what_an_earlier_run_has_begun() -> None:
    begun = Begun("a" * 32, 2, {"state": "0" * 32})
    assert load_begun(dump(begun) or b"") == begun
    for path, value in (("job", "../x"), ("attempt", -1), ("before", {"state": "x"}), ("before", [])):
        with pytest.raises(ValueError):
            load_begun(altered(begun, path, value=value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["attempt"], 1),
        (["at"], "now"),
        (["contents"], {}),
        (["contents", 0, 0], -1),
        (["contents", 0, 0], "0"),
        (["contents", 1], [1]),
        (["contents", 0, 1, "digest"], "../../x"),
    ],
)
def test_another_checkpoint_than_one_of_ours_is_refused(path: list[Any], value: Any) -> None:
    with pytest.raises(ValueError):
        load_checkpoint(altered(CHECKPOINT, *path, value=value), 2)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["id"], "b" * 64),
        (["id"], "../" + "a" * 61),
        (["run"], "../../x"),
        (["app"], ["a"]),
        (["app"], "x" * 70_000),
        (["overrides"], "x=1"),
        (["overrides"], [1]),
        (["status"], "RUNNING"),
        (["status"], ["COMPLETED"]),
        (["value"], None),
        (["value", "is_tuple"], 1),
        (["value", "json"], 5),
        (["outs"], {"model": 1}),
        (["outs", 0, "content"], None),
        (["outs", 0, "content", "digest"], "../../../etc/passwd"),
        (["outs", 0, "content", "size"], -1),
        (["outs", 0, "content", "files"], True),
        (["outs", 0, "content", "executables"], [None]),
        (["outs", 0, "content", "area"], "../../files"),
        (["outs", 0, "content", "extras"], []),
        (["outs", 0, "content", "extras", "private"], [["a", 0o4777]]),
        (["outs", 0, "content", "extras", "links"], [["a"]]),
        (["workspace", "place"], "home/sweep/0"),
        (["workspace", "place"], "/a\0b"),
        (["before"], {"model": "short"}),
        (["seconds"], float("nan")),
        (["seconds"], "1"),
        (["ended"], 1e300),
        (["sent"], 2**70),
        (["node"], None),
    ],
    ids=str,
)
def test_any_other_shape_is_refused(path: list[Any], value: Any) -> None:
    with pytest.raises(ValueError):
        load_job(altered(JOB, *path, value=value), JOB.id)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"id": ' + b"9" * 10_000 + b"}",
        b" " * (MOST_BYTES + 1),
    ],
    ids=range(8),
)
def test_what_is_no_record_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        load_job(data, JOB.id)
    with pytest.raises(ValueError):
        load_run(data, RUN.id)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["jobs"], [["x"]]),
        (["files"], [["a"]]),
        (["files"], [["a", "../b"]]),
        (["jobs", 0, 1], "short"),
        (["jobs", 0, 0], "x=1"),
        (["began"], None),
        (["id"], "x"),
    ],
    ids=str,
)
def test_another_run_is_refused(path: list[Any], value: Any) -> None:
    with pytest.raises(ValueError):
        load_run(altered(RUN, *path, value=value), RUN.id)
