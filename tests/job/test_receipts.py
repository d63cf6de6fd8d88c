"""What a job in this process leaves in the store of itself."""

from __future__ import annotations

import _thread
import os
import pickle
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ray_decorator.content.looking.fingerprint import fingerprint
from ray_decorator.core.machine.this_machine import path_id
from ray_decorator.core.records.reader import load_job
from ray_decorator.core.records.records import JobRecord, job_key
from ray_decorator.core.serialization import pickling
from ray_decorator.core.values.model import Home, Job, Out, Paths, Receipt
from ray_decorator.core.values.returned import Value, value_of
from ray_decorator.core.values.stores import Location
from ray_decorator.core.values.work import Entry
from ray_decorator.job.receipts import leave, told
from ray_decorator.job.run import serve_job
from ray_decorator.job.side import Side
from ray_decorator.store.identity import locate
from ray_decorator.store.store import Store, open_store

ID = "a" * 64
WORKSPACE = Out("w", "0", directory=True)
ENTRY = Entry(ID, "run", "train", ("x=1",), {"model": "0" * 32})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "node"))
    return open_store(locate((tmp_path / "store").as_uri()))


def run(
    func: Callable[[bytes, Paths], Any],
    store: Store,
    outs: tuple[Out, ...],
    entry: Entry | None = ENTRY,
    **more: Any,
) -> Receipt:
    job = Job("j", "#0", b"", (), outs, True, "/", (), os.getuid(), entry=entry, **more)
    receipt = serve_job(
        "run", pickling.pickled(func), pickle.dumps(job), locate(store.url), None, "this node", at_home=True
    )
    assert receipt is not None
    return receipt


def left(store: Store) -> JobRecord | None:
    incoming = store.get(job_key(ID))
    return None if incoming is None else load_job(bytes(incoming.read()), ID)


def work(payload: bytes, paths: Paths) -> Any:
    Path(paths.outs[0]).write_text("a model")
    Path(paths.workspace or "", "train.log").write_text("all is well")
    return 0.5


def test_it_says_where_all_is_that_was_written(store: Store) -> None:
    receipt = run(work, store, (Out("model", "model"), WORKSPACE))
    found = left(store)
    assert found is not None and found.workspace is not None
    assert (found.run, found.app, found.overrides, found.before) == (
        "run",
        "train",
        ("x=1",),
        {"model": "0" * 32},
    )
    assert (found.status, found.value.held(), found.node) == ("COMPLETED", 0.5, "this node")
    assert [(each.key, each.content) for each in found.outs] == [("model", receipt.outs[0])]
    assert found.workspace.content == receipt.outs[1]
    assert (found.sent, found.seconds) == (receipt.sent, receipt.seconds)


def test_a_directory_of_homes_is_named_with_its_seal(store: Store, tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    place = path_id(tmp_path / "sweep")
    run(work, store, (Out("model", "model"), replace(WORKSPACE, in_place=place)))
    found = left(store)
    assert found is not None and found.workspace is not None
    assert (found.workspace.content, found.workspace.place) == (None, str(tmp_path / "sweep"))
    assert found.workspace.seal == fingerprint(str(tmp_path / "sweep"))


def test_one_that_failed_leaves_its_error(store: Store) -> None:
    def fails(payload: bytes, paths: Paths) -> Any:
        raise ValueError("no luck")

    run(fails, store, (Out("model", "model"), WORKSPACE))
    found = left(store)
    assert found is not None
    assert (found.status, found.error, found.outs) == ("FAILED", "ValueError: no luck", ())
    assert "in fails" in found.traceback


def test_an_error_of_any_text_can_be_read_again(store: Store) -> None:
    def fails(payload: bytes, paths: Paths) -> Any:
        raise ValueError("a\0b" + "x" * 1_000_000)

    run(fails, store, (WORKSPACE,))
    found = left(store)
    assert (
        found is not None
        and found.error.startswith("ValueError: a\\0bxx")
        and found.traceback.endswith("xx\n")
    )


def test_a_value_that_json_cannot_hold_is_said(store: Store) -> None:
    run(lambda payload, paths: {1, 2}, store, (WORKSPACE,))
    found = left(store)
    assert found is not None and "a builtins.set" in found.value.why


CANCELLED = ["cancelled", "cancelled, and it returns", "cancelled, and it exits", "cancelled, and it raises"]


@pytest.mark.parametrize("how", [*CANCELLED, "to be retried", "no entry", "its outs are stuck"])
def test_others_leave_none(how: str, store: Store, tmp_path: Path) -> None:
    (tmp_path / "home" / "o").mkdir(parents=True)
    near = path_id(tmp_path / "home")
    assert near is not None
    out = Out("o", "o", home=Home(str(tmp_path / "home" / "o"), near))  # where a directory is in the way

    def ends(payload: bytes, paths: Paths) -> Any:
        if how == "its outs are stuck":
            Path(paths.outs[0]).write_text("a model")
        elif how == "to be retried":
            raise ValueError
        elif how in CANCELLED:
            interrupted(how)

    retry = ("builtins.ValueError",) if how == "to be retried" else ()
    entry = None if how == "no entry" else ENTRY
    run(ends, store, (out, WORKSPACE), entry, retry_on=retry)
    assert left(store) is None


def interrupted(how: str) -> None:
    """As by Ray's cancel, which a task may heed in its own way."""
    try:
        _thread.interrupt_main()
        time.sleep(30)
    except KeyboardInterrupt as exc:
        if how == "cancelled":
            raise
        if how.endswith("exits"):
            sys.exit(1)
        if how.endswith("raises"):
            raise RuntimeError("stopped") from exc


def test_with_an_entry_without_an_id_the_driver_writes_it(store: Store) -> None:
    receipt = run(work, store, (Out("o", "o"), WORKSPACE), Entry("", "run", "train"))
    assert left(store) is None
    assert receipt.told == told(value_of(0.5), None)


def test_a_store_that_does_not_answer_is_said(caplog: pytest.LogCaptureFixture) -> None:
    nobody = Location("s3://bucket/prefix", endpoint="http://127.0.0.1:9", patience=0.0)
    job = Job("j", "#0 x=1", b"", (), (), False, "/", (), 0, entry=ENTRY)
    leave(job, Receipt(told=told(Value(), None)), "node", Side(nobody, None, True))
    assert caplog.messages[-1].startswith("#0 x=1 leaves no receipt, so it runs again on resume: ")
