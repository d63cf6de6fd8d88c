"""Whatever somebody has put in a receipt's or a run record's place, the readers take the shape of `dump` alone.

Few examples run by default; RAY_S3_TEST_EXAMPLES=5000 is for who changes something here.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ray_decorator.core.records.reader import load_begun, load_checkpoint, load_job, load_run
from ray_decorator.core.records.records import Begun, Checkpoint, JobRecord, Left, RunRecord, dump
from ray_decorator.core.values.contents import Content, Extras
from ray_decorator.core.values.returned import Value

EXAMPLES = int(os.environ.get("RAY_S3_TEST_EXAMPLES", "25"))
JOB_ID = "a" * 64
CONTENT = Content("0" * 32 + ".dir", 5, 2, ("run",), Extras((("k", 0o77),), ("e",), (("l", "e"),)))
LEFT = Left("model.path", CONTENT, "/home/me/model", "seal")
JOB = JobRecord(JOB_ID, "run-1", "app", ("x=1",), "COMPLETED", Value([1], True), outs=(LEFT,), workspace=LEFT)
RUN = RunRecord("run-1", "app", 1.0, "host", "me", "code", "packages", ((("x=1",), JOB_ID),))
CHECKPOINT = Checkpoint(2, 1.0, ((0, CONTENT), (3, CONTENT)))
BEGUN = Begun("a" * 32, 2, {"state": "0" * 32})

few = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES < 100
)
whatever = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=3),
        st.sampled_from(
            ["\0", "../../etc", "/etc/passwd", "\ud800", "x" * 70_000, JOB_ID, JOB_ID + "\n", 10**400]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)


def spoilt(value: Any) -> st.SearchStrategy[Any]:
    """The value as it is, mostly; or with something else in the place of it, or of a part of it."""
    parts: st.SearchStrategy[Any] = st.just(value)
    if isinstance(value, dict):
        parts = st.fixed_dictionaries({key: spoilt(part) for key, part in value.items()})
    elif isinstance(value, list):
        parts = st.tuples(*map(spoilt, value)).map(list)
    return st.one_of(*[parts] * 9, whatever)


def as_json(record: JobRecord | RunRecord | Checkpoint | Begun) -> Any:
    return json.loads(json.dumps(asdict(record)))


@given(st.one_of(spoilt(as_json(JOB)), spoilt(as_json(JOB)), spoilt(as_json(JOB)), st.binary(max_size=50)))
@example(b"[" * 100_000)
@example(b'{"id":' * 10_000)
@example(b" " * (2 << 20))
@few
def test_a_receipt_is_read_or_refused(made: Any) -> None:
    data = made if isinstance(made, bytes) else json.dumps(made).encode()
    try:
        found = load_job(data, JOB_ID)
    except ValueError as exc:
        assert len(str(exc)) < 1000
        return
    assert found.id == JOB_ID
    again = dump(found)
    assert again is not None and dump(load_job(again, JOB_ID)) == again


@given(st.one_of(spoilt(as_json(RUN)), spoilt(as_json(RUN)), st.binary(max_size=50)))
@few
def test_a_run_record_is_read_or_refused(made: Any) -> None:
    data = made if isinstance(made, bytes) else json.dumps(made).encode()
    try:
        found = load_run(data, "run-1")
    except ValueError as exc:
        assert len(str(exc)) < 1000
        return
    again = dump(found)
    assert again is not None and dump(load_run(again, "run-1")) == again


@given(st.one_of(spoilt(as_json(CHECKPOINT)), spoilt(as_json(BEGUN)), st.binary(max_size=50)))
@few
def test_a_checkpoint_is_read_or_refused(made: Any) -> None:
    data = made if isinstance(made, bytes) else json.dumps(made).encode()
    for read in (lambda data: load_checkpoint(data, 2), load_begun):
        try:
            again = dump(read(data))
        except ValueError as exc:
            assert len(str(exc)) < 1000
        else:
            assert again is not None and dump(read(again)) == again


def test_what_is_as_it_was_written_is_read() -> None:
    for record, read in ((JOB, load_job), (RUN, load_run)):
        data = dump(record)
        assert data is not None and read(data, record.id) == record
