"""A node's disk: what is kept for later jobs stays below its limit, oldest first, and goes before a job fails."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from disks import disk
from trees import read, sent, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.manifest import object_key
from ray_decorator.core.errors import InputError, NodeDiskError
from ray_decorator.core.values.contents import Content
from ray_decorator.job.disk import room
from ray_decorator.job.disk.cache import Checkout, NodeCache
from ray_decorator.job.disk.checkouts import Checkouts
from ray_decorator.job.disk.scratch import open_scratch
from ray_decorator.job.disk.seals import is_sealed
from ray_decorator.store.store import Store

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "node"))
    monkeypatch.delenv("RAY_S3_CACHE_SIZE", raising=False)
    return tmp_path / "node"


def stored(shop: Store, tmp_path: Path, name: str, size: int) -> Content:
    path = tmp_path / name
    path.write_bytes(os.urandom(size))
    return sent(path, shop, HashCache.in_memory()).content


def fetched(node: Path, content: Content, shop: Store, job: Path) -> int:
    job.mkdir(parents=True, exist_ok=True)
    return NodeCache(node / "cache").checkout([Checkout(content, job / "dep")], shop)


def entry(node: Path, content: Content) -> Path:
    return node / "cache" / object_key(content.digest).replace("files/md5", "files")


@pytest.mark.parametrize(
    ("given", "size"),
    [("1000", 1000), ("2k", 2000), ("1.5 GB", 1_500_000_000), ("0", 0), ("3MiB", 3_000_000)],
)
def test_the_limit_is_the_users(monkeypatch: pytest.MonkeyPatch, given: str, size: int) -> None:
    monkeypatch.setenv("RAY_S3_CACHE_SIZE", given)
    assert room.limit() == size


def test_the_limit_is_a_share_of_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    total = shutil.disk_usage(tmp_path).total
    assert room.limit() == total // 5
    monkeypatch.setenv("RAY_S3_CACHE_SIZE", "1%")
    assert room.limit() == total // 100
    for wrong in ("much", "-1", "1 2", "..", "5 X"):
        monkeypatch.setenv("RAY_S3_CACHE_SIZE", wrong)
        with pytest.raises(InputError, match=r"RAY_S3_CACHE_SIZE is .*; expected a size such as 50GB"):
            room.limit()


def test_the_least_recently_used_goes_first(
    node: Path, shop: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [stored(shop, tmp_path, f"f{n}", MIB) for n in range(4)]
    for number, content in enumerate(contents):
        fetched(node, content, shop, tmp_path / f"job{number}")
        os.utime(entry(node, content), (1000 + number, entry(node, content).stat().st_mtime))
    assert fetched(node, contents[0], shop, tmp_path / "again") == 0, "so it is used last"
    assert is_sealed(str(entry(node, contents[0])))
    monkeypatch.setenv("RAY_S3_CACHE_SIZE", str(2 * MIB + 100_000))
    with open_scratch("job"):
        pass
    assert [entry(node, content).exists() for content in contents] == [True, False, False, True]
    assert all((tmp_path / f"job{n}" / "dep").read_bytes() for n in range(4)), "what jobs have stays"
    assert sum(one.size for one in room.kept()) <= room.limit()


def test_nobody_looks_twice_a_minute(
    node: Path, shop: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_scratch("job"):
        pass
    content = stored(shop, tmp_path, "f", MIB)
    fetched(node, content, shop, tmp_path / "job1")
    monkeypatch.setenv("RAY_S3_CACHE_SIZE", "0")
    room.tidy()
    assert entry(node, content).exists()
    os.utime(node / "tidied", (0, 0))
    room.tidy()
    assert not entry(node, content).exists()


def test_a_limit_that_is_none_is_told_and_a_fifth_taken(
    node: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAY_S3_CACHE_SIZE", "much")
    with caplog.at_level(logging.WARNING):
        room.tidy()
    assert "RAY_S3_CACHE_SIZE is 'much'; expected" in caplog.text and "Taken for 20 %" in caplog.text


def idle_checkout(node: Path, name: str) -> Path:
    content = Content(name * 32 + ".dir", 200_000, 200)
    root = tree(node / "job" / name, {f"{n}": b"x" * 1000 for n in range(200)})
    checkouts = Checkouts(node / "idle")
    sealed = checkouts.made([(content, root)]) or [(content, root, "mark")]
    checkouts.give(content, root, sealed[0][2])
    return node / "idle"


def environment(node: Path, name: str, used: float) -> Path:
    """As build.py leaves one; its Python is this one's."""
    root = tree(node / "envs" / name, {"bin/x": b"x" * 100_000, "complete": b""})
    (root / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
    (node / "envs" / f"{name}.lock").touch()
    os.utime(root / "complete", (used, used))
    return root


def test_checkouts_and_environments_count_but_those_in_use_stay(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.mkdir(mode=0o700)
    (node / "envs").mkdir(mode=0o700)
    idle = idle_checkout(node, "a")
    old, used, new = (environment(node, n, t) for n, t in (("old", 1e9), ("used", 1e9), ("new", time.time())))
    half = tree(node / "envs" / "half", {"x": b"x"})
    program = "import sys; print('in', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [used / "bin" / "python", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == b"in\n"
        monkeypatch.setenv("RAY_S3_CACHE_SIZE", "0")
        room.tidy()
        process.stdin.close()
    assert not old.exists() and not (node / "envs" / "old.lock").exists()
    assert used.exists() and new.exists() and half.exists()
    assert [path for path in idle.rglob("*") if path.is_file()] == []


class TestAFullDisk:
    def test_what_is_kept_goes_before_a_job_fails(
        self, node: Path, shop: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old, new = stored(shop, tmp_path, "old", 3 * MIB), stored(shop, tmp_path, "new", 5 * MIB)
        with disk(node, "size=8m,mode=0700"):
            fetched(node, old, shop, node / "jobs" / "1")
            assert entry(node, old).exists()
            shutil.rmtree(node / "jobs" / "1")
            (node / "others").write_bytes(b"x" * (2 * MIB))
            assert fetched(node, new, shop, node / "jobs" / "2") == 5 * MIB
            assert (node / "jobs" / "2" / "dep").read_bytes() == (tmp_path / "new").read_bytes()
            assert not entry(node, old).exists()

    def test_then_it_is_one_error_with_path_room_and_cure(
        self, node: Path, shop: Store, tmp_path: Path
    ) -> None:
        files = {f"{n}": os.urandom(MIB) for n in range(9)}
        content = sent(tree(tmp_path / "t", files), shop, HashCache.in_memory()).content
        with disk(node, "size=4m,mode=0700"):
            with pytest.raises(NodeDiskError) as info:
                fetched(node, content, shop, node / "jobs" / "1")
            assert f"are free at {node}, and nothing that was kept for later jobs is left there" in str(
                info.value
            )
            assert "No space left on device" in str(info.value) and "of 4.2 MB" in str(info.value)
            assert "set RAY_S3_NODE_DIR on the node to a directory with more" in str(info.value)

    def test_the_last_of_a_disk_is_left_to_jobs(self, node: Path, shop: Store, tmp_path: Path) -> None:
        content = stored(shop, tmp_path, "f", 3 * MIB)
        with disk(node, "size=6200k,mode=0700"):
            fetched(node, content, shop, node / "jobs" / "1")
            assert not entry(node, content).exists()
            assert read(node / "jobs" / "1") == {"dep": (tmp_path / "f").read_bytes()}
