"""What is ours on a machine is shown with its size and cleared; what a job uses, and what is not ours, stays."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from pathlib import Path

import pytest
from trees import read, sent, tree

from ray_decorator.content.hashes.hash_cache import HashCache, default_path
from ray_decorator.core.errors import InputError
from ray_decorator.job.disk import ours
from ray_decorator.job.disk.cache import Checkout, NodeCache
from ray_decorator.job.disk.looks import Looks
from ray_decorator.job.disk.scratch import open_scratch
from ray_decorator.store.identity import locate
from ray_decorator.store.store import open_store


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's directory, and a user's cache beside it. What other tests' jobs leave in /tmp is not looked at."""
    monkeypatch.setattr("ray_decorator.job.disk.sockets._SHORT", str(tmp_path))
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "node"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "node"


def found(**options: bool) -> dict[str, tuple[str, int, str]]:
    """By path: what it is, how many, and why it stays."""
    return {f"{one.path}": (one.what, one.number, one.stays) for one in ours.survey(**options)}


def crashed(node: Path, name: str, dead_since: float) -> Path:
    """As a killed process leaves an attempt which was found dead then."""
    attempt = tree(node / "jobs" / name / "attempt-x", {"outs/0/model": b"half", ".lock": b"\0"})
    os.utime(attempt / ".lock", (dead_since, dead_since))
    return attempt


def test_nothing_is_made_where_there_is_nothing(node: Path, tmp_path: Path) -> None:
    assert found() == {}
    ours.clear()
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_for_later_goes_and_what_a_running_job_has_stays(node: Path, tmp_path: Path) -> None:
    store = open_store(locate((tmp_path / "store").as_uri()))
    hashes = HashCache(default_path())
    content = sent(tree(tmp_path / "data", {"a": b"a" * 10_000, "b": b"b"}), store, hashes).content
    hashes.remember("s3://elsewhere", ["d"])
    hashes.record_outs([str(tmp_path / "data")])
    tree(node / "runtime" / "0123", {"ray_decorator/x.py": b"x"})
    for name in ("", "runtime"):
        (node / name).chmod(0o700)
    with open_scratch("running") as scratch:
        NodeCache(node / "cache").checkout([Checkout(content, scratch.path / "dep")], store)
        before = ours.survey()
        ours.clear()
        assert read(scratch.path / "dep") == {"a": b"a" * 10_000, "b": b"b"}
        assert found() == {
            str(node / "jobs"): ("running jobs", 1, "stays"),
            str(node / "runtime"): ("our own source", 1, "stays: jobs run"),
        }
    sizes = {Path(one.path).name: one.size for one in before}
    assert sizes["cache"] >= 10_000 + 1 and sizes["hashes.sqlite"] > 0 and sizes["jobs"] >= 10_000
    assert os.listdir(node / "cache" / "locks") == []
    assert hashes.known("s3://elsewhere", ["d"]) == set()
    assert hashes.outs() == {str(tmp_path / "data")}, "what earlier runs brought home is no code, still"
    assert read(tmp_path / "data") and len(read(tmp_path / "store")) == 3
    ours.clear()
    assert found() == {}


def test_locks_that_somebody_holds_stay(node: Path) -> None:
    NodeCache(node / "cache")
    lock = node / "cache" / "locks" / "held"
    with open(lock, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ours.clear()
        assert lock.exists()
    ours.clear()
    assert not lock.exists()


def test_what_a_crashed_job_left_stays_while_its_driver_may_ask_for_it(node: Path) -> None:
    node.mkdir(mode=0o700)
    (node / "jobs").mkdir(mode=0o700)
    old, new = crashed(node, "old", time.time() - 1000), crashed(node, "new", time.time() - 1)
    (new / ".lock").write_bytes(b"")  # nobody has found it dead yet
    rows = [(one.what, one.number, one.stays) for one in ours.survey()]
    assert rows == [
        ("left by jobs that crashed", 1, "stays for 120 s: a driver may ask for it"),
        ("left by jobs that crashed", 1, ""),
    ]
    ours.clear()
    assert not old.exists() and (new / "outs/0/model").read_bytes() == b"half"


def test_outs_of_a_crashed_job_that_are_nowhere_else_are_kept(node: Path, tmp_path: Path) -> None:
    with open_scratch("crashed") as scratch:
        out = scratch.path / "outs" / "0" / "model"
        out.parent.mkdir(parents=True)
        Looks(scratch.path, [])
        out.write_bytes(b"half")
        shutil.copytree(scratch.path, tmp_path / "left")
    attempt = node / "jobs" / "crashed" / "attempt-x"
    shutil.copytree(tmp_path / "left", attempt)
    (attempt / ".lock").write_bytes(b"\0")
    os.utime(attempt / ".lock", (1000, 1000))
    assert found()[str(node / "jobs")][2] == "stays without --kept"
    ours.clear()
    assert [path.read_bytes() for path in (node / "kept").rglob("model")] == [b"half"]
    ours.clear(kept=True)
    assert list((node / "kept").rglob("model")) == []


def test_outs_that_are_nowhere_else_go_only_when_they_are_named(node: Path, tmp_path: Path) -> None:
    kept = tree(node / "kept", {"job/outs/0/model": b"m"})
    for path in (node, kept):
        path.chmod(0o700)
    stored = tree(tmp_path / "home" / "ray_s3" / "store", {"files/md5/ab/c": b"c"})
    ours.clear()
    assert read(kept) and read(stored)
    assert {stays for _, _, stays in found().values()} == {"stays without --kept"}
    assert {what for what, _, _ in found(kept=True, driver=False).values()} == {
        "outs that could not come home"
    }
    ours.clear(kept=True)
    assert read(kept) == {} and not stored.exists()


def test_a_cache_that_others_can_write_to_is_refused_and_left_alone(node: Path, tmp_path: Path) -> None:
    stored = tree(tmp_path / "home" / "ray_s3" / "store", {"files/md5/ab/c": b"c"})
    stored.parent.chmod(0o777)
    for look in (ours.survey, ours.clear):
        with pytest.raises(InputError, match=r"ray_s3 can be written to by others"):
            look(kept=True)
    assert read(stored)


def test_a_link_that_leads_nowhere_is_refused(node: Path) -> None:
    node.symlink_to("nowhere")
    with pytest.raises(InputError, match="node is a symlink"):
        ours.survey()


def test_a_directory_of_another_user_is_refused(node: Path) -> None:
    node.mkdir()
    node.chmod(0o777)
    with pytest.raises(InputError, match="can be written to by others"):
        ours.survey()
