"""Checkpoints: whole files of one attempt, which the next one begins with; at home, nothing of it is to be seen."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trees import QUIET, read, tree

import ray_decorator
from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.manifest import object_key
from ray_decorator.core.serialization import pickling
from ray_decorator.core.values.model import Dep, Job, Out, Paths, Receipt
from ray_decorator.core.values.stores import Location
from ray_decorator.core.values.work import Entry
from ray_decorator.job.checkpoints import checkpoint
from ray_decorator.job.disk import looks
from ray_decorator.job.run import serve_job
from ray_decorator.store.store import Store
from ray_decorator.store.transfer import pull, push, snapshot

pytestmark = pytest.mark.usefixtures("node")

FIRST = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def one(tmp_path: Path, shop: Store, hashes: HashCache) -> Job:
    """Its state, a directory, and its file are read and written."""
    files = []
    for path in (tree(tmp_path / "state", {"a": b"a0", "b": b"b0", "c": b"c0"}), tmp_path / "file"):
        path.is_dir() or path.write_bytes(b"f0")
        files.append(snapshot(path, hashes, QUIET))
        push(files[-1], shop, hashes, QUIET)
    outs = (Out("s", "state", directory=True, is_dep=True), Out("f", "file", is_dep=True))
    deps = tuple(Dep(out.key, out.name, files[n].content, inside=(n, ".")) for n, out in enumerate(outs))
    return Job(FIRST, "#0", b"", deps, outs, False, "/", (), os.getuid(), retry_on=("builtins.OSError",))


def run(work: Callable[[Path, Path], Any], one: Job, where: Location) -> Receipt:
    def function(payload: bytes, paths: Paths) -> Any:
        return work(Path(paths.outs[0]), Path(paths.outs[1]))

    receipt = serve_job("run", pickling.pickled(function), pickle.dumps(one), where, None, "a node")
    assert receipt is not None
    return receipt


def begins_with(state: Path, file: Path) -> dict[str, bytes]:
    return {**read(state), "file": file.read_bytes()}


def second(one: Job, attempt: int = 2) -> Job:
    return replace(one, id=f"{FIRST}-{attempt}", attempt=attempt, retry_on=())


def saves_and_fails(state: Path, file: Path) -> None:
    (state / "a").write_bytes(b"a1")
    (state / "new").write_bytes(b"new")
    file.write_bytes(b"f1")
    assert ray_decorator.checkpoint()
    with open(state / "a", "w") as torn:  # open: as in the one before
        torn.write("half")
        torn.flush()
        (state / "c").write_bytes(b"c1")
        file.write_bytes(b"f2")
        assert ray_decorator.checkpoint()
    (state / "b").write_bytes(b"lost")
    raise OSError("in the middle")


def test_the_next_attempt_begins_with_it_and_all_comes_home_then(
    one: Job,
    where: Location,
    shop: Store,
    tmp_path: Path,
    hashes: HashCache,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(saves_and_fails, one, where).replaced
    done = run(begins_with, second(one), where)
    found = {"a": b"a1", "b": b"b0", "c": b"c1", "new": b"new", "file": b"f2"}
    assert pickle.loads(done.value or b"") == found
    assert "ray-s3: #0 begins with the checkpoint of attempt 1\n" in capfd.readouterr().err
    pull(done.outs[0], tmp_path / "home", shop, hashes, QUIET)
    assert read(tmp_path / "home") == {name: data for name, data in found.items() if name != "file"}
    assert list(shop.list("ray_s3/checkpoints/")) == [], "nobody needs it any more"


def test_the_same_job_of_a_later_run_begins_with_it_where_it_began_with_the_same(
    one: Job, where: Location, shop: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    entry = Entry("e" * 64, "run-1", "app", before={"s": "0" * 32})
    first = replace(one, entry=entry)
    later = replace(first, id="f" * 32, resumes=True, retry_on=())
    at_home = {"a": b"a0", "b": b"b0", "c": b"c0", "file": b"f0"}
    for other in (
        replace(later, resumes=False),
        replace(later, entry=replace(entry, before={"s": "1" * 32})),
    ):
        run(saves_and_fails, first, where)
        assert pickle.loads(run(begins_with, other, where).value or b"") == at_home
    run(saves_and_fails, first, where)
    by_the_driver = replace(later, entry=replace(entry, id="", known=entry.id))
    found = pickle.loads(run(begins_with, by_the_driver, where).value or b"")
    assert found == {"a": b"a1", "b": b"b0", "c": b"c1", "new": b"new", "file": b"f2"}
    assert "ray-s3: #0 begins with an earlier run's checkpoint of attempt 1\n" in capfd.readouterr().err
    left = [key for page in shop.list("ray_s3/checkpoints/") for key, _ in page]
    assert not [key for key in left if FIRST in key or "jobs" in key], "the job is done"


def test_one_that_fails_for_good_brings_what_it_began_with(
    one: Job, where: Location, shop: Store, tmp_path: Path, hashes: HashCache
) -> None:
    def fails(state: Path, file: Path) -> None:
        (state / "d").write_bytes(b"d1")
        raise ValueError("no good")

    run(saves_and_fails, one, where)
    done = run(fails, second(one), where)
    assert sorted(done.outs) == [0, 1] and done.failed == ()
    pull(done.outs[0], tmp_path / "home", shop, hashes, QUIET)
    assert read(tmp_path / "home") == {"a": b"a1", "b": b"b0", "c": b"c1", "new": b"new", "d": b"d1"}


def test_of_a_file_that_is_torn_at_the_end_its_version_comes_home(
    one: Job, where: Location, shop: Store, tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "kept_open", [], raising=False
    )  # what only the job knows is closed when that ends

    def fails(state: Path, file: Path) -> None:
        for path in (state / "a", state / "in/d", file):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"saved")
        assert ray_decorator.checkpoint()
        for path in (state / "a", state / "in/d", file):
            torn = open(path, "w")  # noqa: SIM115 (it stays open)
            torn.write("half")
            torn.flush()
            vars(sys)["kept_open"].append(torn)
        (state / "in/e").write_bytes(b"whole")
        raise ValueError("in the middle")

    done = run(fails, replace(one, retry_on=()), where)
    assert (sorted(done.outs), sorted(done.aside), done.failed) == ([0, 1], [0, 1], ("s", "f"))
    for index, name in enumerate(("state", "file")):
        pull(done.outs[index], tmp_path / "home" / name, shop, hashes, QUIET)
        pull(done.aside[index], tmp_path / "failed" / name, shop, hashes, QUIET)
    whole = {"state/a": b"saved", "state/b": b"b0", "state/c": b"c0", "state/in/d": b"saved"}
    assert read(tmp_path / "home") == {**whole, "state/in/e": b"whole", "file": b"saved"}
    assert read(tmp_path / "failed") == {"state/a": b"half", "state/in/d": b"half", "file": b"half"}


def test_a_checkpoint_whose_objects_are_gone_or_that_is_spoilt_is_none(
    one: Job,
    where: Location,
    shop: Store,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(saves_and_fails, one, where)
    objects = [key for page in shop.list(f"ray_s3/checkpoints/{FIRST}/") for key, _ in page]
    key, files = f"ray_s3/checkpoints/{FIRST}/1.json", {b"a1", b"c1", b"new", b"f2"}
    assert len(objects) == 2 + len(files) and key in objects, "of the newest one alone: f1 is gone"
    for each in objects:
        if each.endswith(object_key(hashlib.md5(b"new").hexdigest())):
            shop.delete(each)
    at_home = {"a": b"a0", "b": b"b0", "c": b"c0", "file": b"f0"}
    assert pickle.loads(run(begins_with, second(one), where).value or b"") == at_home
    assert (
        "cannot begin with the checkpoint of attempt 1, but with what is at home: " in capfd.readouterr().err
    )
    shop.put(key, b'{"attempt": 1, "at": 0, "contents": [[0, "x"]]}')
    assert pickle.loads(run(begins_with, second(one, 3), where).value or b"") == at_home
    assert "#0: the checkpoint of attempt 1 cannot be read: expected an object, found str" in caplog.text


def test_by_the_clock_only_what_two_looks_have_seen_is_taken(
    one: Job, where: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "store/ray_s3/checkpoints" / FIRST / "1.json"
    monkeypatch.setattr(looks, "_PAUSE", 0.02)

    def works(state: Path, file: Path) -> None:
        (state / "a").write_bytes(b"a1")
        torn = os.open(
            state / "b", os.O_WRONLY | os.O_TRUNC
        )  # and open until the last look, by an error, too
        (tmp_path / "torn").write_text(str(torn))
        os.write(torn, b"half")
        deadline = time.monotonic() + 30
        while not made.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        raise OSError("in the middle")

    run(works, replace(one, checkpoint_interval=0.05), where)
    os.close(int((tmp_path / "torn").read_text()))
    found = pickle.loads(run(begins_with, second(one), where).value or b"")
    assert found == {"a": b"a1", "b": b"b0", "c": b"c0", "file": b"f0"}


def test_where_it_cannot_be_made_the_job_goes_on(
    one: Job, where: Location, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def works(state: Path, file: Path) -> bool:
        file.write_bytes(b"f1")
        (tmp_path / "store" / "ray_s3").write_bytes(b"in the way")
        made = ray_decorator.checkpoint()
        (tmp_path / "store" / "ray_s3").unlink()
        return made

    with caplog.at_level(logging.WARNING):
        assert pickle.loads(run(works, one, replace(where, patience=0.1)).value or b"") is False
    assert "#0: no checkpoint could be made: " in caplog.text


def test_without_ray_and_without_such_keys_it_is_nothing(where: Location) -> None:
    assert ray_decorator.checkpoint is checkpoint and checkpoint() is False
    bare = Job("j", "#0", b"", (), (Out("o", "o"),), False, "/", (), os.getuid(), checkpoint_interval=0.01)
    asks = pickling.pickled(lambda payload, paths: ray_decorator.checkpoint())
    receipt = serve_job("run", asks, pickle.dumps(bare), where, None, "n")
    assert receipt is not None and pickle.loads(receipt.value or b"") is False
