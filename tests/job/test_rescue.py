"""What a job that was killed has left is brought by another process on its node; once, and nothing is lost before."""

from __future__ import annotations

import os
import pickle
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from trees import read, tree

from ray_decorator.__main__ import main
from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.core.machine import directories
from ray_decorator.core.progress import NoProgress
from ray_decorator.core.values.model import Dep, Job, Out, Paths
from ray_decorator.core.values.stores import Location
from ray_decorator.job.disk.scratch import job_root
from ray_decorator.job.rescue import rescue
from ray_decorator.job.side import Side
from ray_decorator.store.store import open_store
from ray_decorator.store.transfer import pull, push, snapshot

pytestmark = pytest.mark.usefixtures("node")

CRASH = (
    "import pickle, sys; from ray_decorator.job.run import serve_job\n"
    "func, job, where = pickle.load(open(sys.argv[1], 'rb'))\n"
    "serve_job('run', func, job, where, None, 'a node', at_home=False)"
)


@pytest.fixture
def one(tmp_path: Path, where: Location, hashes: HashCache) -> Job:
    """Its state is read and written, its model written."""
    taken = snapshot(tree(tmp_path / "state", {"a": b"a0", "b": b"b0"}), hashes, NoProgress())
    push(taken, open_store(where), hashes, NoProgress())
    outs = (
        Out("state", "state", directory=True, is_dep=True),
        Out("o", "model"),
        Out("w", "run", directory=True),
    )
    deps = (Dep("state", "state", taken.content, inside=(0, ".")),)
    return Job("j", "#0", b"", deps, outs, True, "/", (), os.getuid())


def crashed(
    work: Callable[[bytes, Paths], Any], one: Job, where: Location, directory: Path, code: int = 9
) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    request = directory / "request"
    request.write_bytes(pickle.dumps((cloudpickle.dumps(work), pickle.dumps(one), where)))
    assert subprocess.run([sys.executable, "-c", CRASH, str(request)], timeout=120).returncode == code


def waits_until_a_is_whole_and_dies(payload: bytes, paths: Paths) -> None:
    import json
    import time

    state, attempt = Path(paths.outs[0]), Path(paths.workspace or "").parent.parent.parent
    (Path(paths.workspace or "") / "train.log").write_text("so far")
    (state / "a").write_bytes(b"a1")
    Path(paths.outs[1]).write_bytes(b"half a model")
    deadline = time.monotonic() + 60
    while json.loads((attempt / ".looks").read_text())["settled"] <= (state / "a").stat().st_ctime_ns:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (state / "b").write_bytes(b"half")
    os._exit(9)


def test_a_node_that_never_saw_the_job_has_nothing(where: Location, one: Job) -> None:
    assert rescue(one, Side(where, None, False)) is None


def test_what_a_crashed_job_left_comes_home_and_no_torn_file_over_a_good_one(
    where: Location, one: Job, hashes: HashCache, tmp_path: Path
) -> None:
    crashed(waits_until_a_is_whole_and_dies, one, where, tmp_path)
    side = Side(where, None, False)
    receipt = rescue(one, side)
    assert receipt is not None and (sorted(receipt.outs), receipt.failed, receipt.notes) == (
        [0, 2],
        ("state", "o"),
        (),
    )
    for index, name in ((0, "state"), (2, "run")):
        pull(receipt.outs[index], tmp_path / name, side.store, hashes, NoProgress())
    assert read(tmp_path / "state") == {"a": b"a1", "b": b"b0"}
    assert read(tmp_path / "run") == {
        "train.log": b"so far", "failed/state/state/b": b"half", "failed/o/model": b"half a model",
    }  # fmt: skip
    assert rescue(one, side) is None and not job_root("j").exists()


def dies(payload: bytes, paths: Paths) -> None:
    (Path(paths.workspace or "") / "train.log").write_text("so far")
    Path(paths.outs[1]).write_bytes(b"half a model")
    os._exit(9)


def is_done(payload: bytes, paths: Paths) -> None:
    (Path(paths.workspace or "") / "train.log").write_text("all of it")
    Path(paths.outs[0], "a").write_bytes(b"a1")
    Path(paths.outs[1]).write_bytes(b"a model")
    os._exit(0)


def test_one_that_has_ended_with_exit_code_0_has_done_its_work(
    where: Location, one: Job, hashes: HashCache, tmp_path: Path
) -> None:
    crashed(is_done, one, where, tmp_path, code=0)
    side = Side(where, None, False)
    receipt = rescue(one, side)
    assert receipt is not None and (receipt.exit_code, receipt.failed, receipt.notes) == (0, (), ())
    for index, name in ((0, "state"), (1, "model"), (2, "run")):
        pull(receipt.outs[index], tmp_path / name, side.store, hashes, NoProgress())
    assert read(tmp_path / "state") == {"a": b"a1", "b": b"b0"}
    assert (tmp_path / "model").read_bytes() == b"a model"
    assert read(tmp_path / "run") == {"train.log": b"all of it"}


def test_of_one_that_is_replaced_its_log_alone(
    where: Location, one: Job, hashes: HashCache, tmp_path: Path
) -> None:
    crashed(dies, replace(one, attempt=3), where, tmp_path)
    side = Side(where, None, False)
    receipt = rescue(replace(one, attempt=3, replaced=True), side)
    assert receipt is not None and (list(receipt.outs), receipt.failed, receipt.exit_code) == ([2], (), 9)
    pull(receipt.outs[2], tmp_path / "run", side.store, hashes, NoProgress())
    assert read(tmp_path / "run") == {"train.3.log": b"so far"} and not job_root("j").exists()


def brought(note: str, later: Path, name: str) -> Path:
    """What a note's command for ``name`` brings to ``later``."""
    commands = re.findall(r"ray-s3 (fetch [^;(\n]*)", note)
    [what] = [words for words in map(shlex.split, commands) if words[-1] == name]
    node, _, path = what[1].partition(":")  # of the cluster that is asked; here it is this machine
    assert node == socket.gethostname() and main(["fetch", path, str(later)]) == 0
    return later


def test_what_cannot_leave_is_kept_and_a_note_says_where(where: Location, one: Job, tmp_path: Path) -> None:
    crashed(dies, one, where, tmp_path)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    (tmp_path / "store").write_text("no directory")
    receipt = rescue(one, Side(where, None, False))
    assert receipt is not None and receipt.outs == {} and receipt.failed == (), "none of it is at home"
    [kept] = (directories.node_directory("kept")).iterdir()
    assert "What it had written did not come home: " in receipt.notes[0]
    assert f"The job's outs are kept on node {socket.gethostname()} at {kept}. Bring" in receipt.notes[-1]
    assert read(brought(receipt.notes[-1], tmp_path / "later", "run"))["failed/o/model"] == b"half a model"


def test_one_that_still_runs_is_left_alone(
    where: Location, one: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray_decorator.job.disk import scratch

    monkeypatch.setattr(scratch, "_ENDING_SECONDS", 0.0)
    with scratch.open_scratch("j") as attempt:
        assert rescue(one, Side(where, None, False)) is None
        assert attempt.path.exists()


def test_the_log_of_a_replaced_one_stays_where_it_cannot_leave(
    where: Location, one: Job, tmp_path: Path
) -> None:
    crashed(dies, one, where, tmp_path)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    (tmp_path / "store").write_text("no directory")
    receipt = rescue(replace(one, replaced=True), Side(where, None, False))
    assert receipt is not None and not receipt.outs
    [note] = receipt.notes
    assert note.startswith(f"The logs of attempt 1 are kept on node {socket.gethostname()} at /")
    assert read(brought(note, tmp_path / "later", "run")) == {"train.1.log": b"so far"}


def test_where_it_cannot_even_be_moved_it_stays_where_it_was(
    where: Location, one: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed(dies, one, where, tmp_path)
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    (tmp_path / "store").write_text("no directory")
    (job_root("j").parent.parent / "kept").write_text("in the way")
    receipt = rescue(replace(one, replaced=True), Side(where, None, False))
    assert receipt is not None and f" at {job_root('j')}/" in receipt.notes[0]
    assert [path.read_text() for path in job_root("j").rglob("train.1.log")] == ["so far"]
