"""A node's disk that is full, read-only or broken: one error, with path, node, cause and cure. Real mounts."""

from __future__ import annotations

import errno
import os
import pickle
import socket
from pathlib import Path

import pytest
from disks import disk
from quota_disk import quota_disk

from ray_decorator.core.errors import NodeDiskError, StoreError
from ray_decorator.core.serialization import pickling
from ray_decorator.core.serialization.failures import rebuilt
from ray_decorator.core.values.model import Job, Out, Paths, Receipt
from ray_decorator.job.disk.disk_errors import is_full, of_disk
from ray_decorator.job.run import serve_job
from ray_decorator.store.identity import locate

CURES = {
    errno.EDQUOT: "Free space on it",
    errno.ENOSPC: "Free space on it",
    errno.EROFS: "mount it writable",
    errno.EIO: "see dmesg there",
    errno.ESTALE: "mount it again",
    errno.EACCES: f"(uid {os.getuid()}) read and write it",
    errno.ENAMETOOLONG: "shorten them",
}


def ran(tmp_path: Path, name: str = "out") -> BaseException | None:
    """What befalls a job with an out of that name, a directory."""

    def work(payload: bytes, paths: Paths) -> None:
        (Path(paths.outs[0]) / "f").write_text("made")

    out = Out("out", name, directory=True)
    job = Job("j", "#0", b"", (), (out,), False, "/", (), os.getuid())
    where = locate((tmp_path / "store").as_uri())
    receipt = serve_job("run", pickling.pickled(work), pickle.dumps(job), where, None, "node")
    assert isinstance(receipt, Receipt)
    return None if receipt.failure is None else rebuilt(receipt.failure)


@pytest.mark.parametrize("number", CURES, ids=errno.errorcode.get)
def test_each_kind_says_path_node_cause_and_cure(number: int, tmp_path: Path) -> None:
    found = of_disk(OSError(number, os.strerror(number), str(tmp_path)))
    assert isinstance(found, NodeDiskError) and is_full(OSError(number, "")) == ("Free" in CURES[number])
    for part in (str(tmp_path), socket.gethostname(), os.strerror(number), CURES[number], "RAY_S3_NODE_DIR"):
        assert part in str(found)


def test_other_errors_are_what_they_are() -> None:
    for other in (StoreError("gone"), FileNotFoundError(2, "no such file"), ValueError("x")):
        assert of_disk(other) is other and not is_full(other)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_job_on_such_a_disk(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "disk"))
    with quota_disk(tmp_path / "disk", number):
        error = ran(tmp_path)
    assert isinstance(error, NodeDiskError)
    for part in (f"{tmp_path}/disk", socket.gethostname(), os.strerror(number), CURES[number]):
        assert part in str(error)


def test_one_that_becomes_read_only_and_a_name_that_is_too_long_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with disk(tmp_path / "disk", "size=8m,mode=0700") as small:
        monkeypatch.setenv("RAY_S3_NODE_DIR", str(small.path / "node"))
        assert ran(tmp_path) is None
        error = ran(tmp_path, "n" * 300)
        assert isinstance(error, NodeDiskError) and "File name too long" in str(error)
        small.remount("ro")
        error = ran(tmp_path)
        assert isinstance(error, NodeDiskError) and "mount it writable" in str(error)
        assert f"Read-only file system: {small.path}/node/jobs/j" in str(error)
