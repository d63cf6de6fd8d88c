"""The cache takes what is as it was fetched, and nothing else."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ray_decorator.content.hashes.hash_cache import Hashed, Stamp
from ray_decorator.job.disk import cache_filling
from ray_decorator.job.disk.cache_filling import Copy, fill, start
from ray_decorator.job.disk.seals import is_sealed

DATA = b"data"


@pytest.fixture
def fetched(tmp_path: Path) -> Copy:
    path = tmp_path / "job" / os.fsdecode(b"f\xff")
    path.parent.mkdir()
    path.write_bytes(DATA)
    md5 = hashlib.md5(DATA).hexdigest()
    return Copy(Hashed(str(path), Stamp.of(path.stat()), md5), str(tmp_path / "files" / "ab" / "entry"))


def test_what_is_as_it_was_fetched(fetched: Copy) -> None:
    fill([fetched])
    assert Path(fetched.entry).read_bytes() == DATA
    assert is_sealed(fetched.entry)
    Path(fetched.fetched.path).write_bytes(b"then the job writes")
    assert Path(fetched.entry).read_bytes() == DATA
    assert os.listdir(Path(fetched.entry).parent) == ["entry"]


@pytest.mark.parametrize("change", ["written", "written, and the stamp is the same", "removed", "a link"])
def test_what_the_job_has_changed(fetched: Copy, tmp_path: Path, change: str) -> None:
    path = Path(fetched.fetched.path)
    if change == "removed":
        path.unlink()
    elif change == "a link":
        path.unlink()
        (tmp_path / "elsewhere").write_bytes(b"DATA")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_bytes(b"DATA")
    if "same" in change:
        fetched = fetched._replace(fetched=fetched.fetched._replace(stamp=Stamp.of(path.stat())))
    other = tmp_path / "job" / "other"
    other.write_bytes(DATA)
    stays = Copy(Hashed(str(other), Stamp.of(other.stat()), fetched.fetched.md5), fetched.entry + "2")
    fill([fetched, stays])
    assert os.listdir(Path(fetched.entry).parent) == ["entry2"], "the others are kept"


def test_a_process_that_a_job_does_not_see_holds_the_lock_until_all_is_there(
    fetched: Copy, tmp_path: Path
) -> None:
    program = """
import fcntl, json, os, sys
from ray_decorator.content.hashes.hash_cache import Hashed, Stamp
from ray_decorator.job.disk.cache_filling import Copy, start
(path, stamp, md5, racy), entry = json.loads(sys.argv[1])
with open(sys.argv[2], "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    start([Copy(Hashed(path, Stamp(*stamp), md5, racy), entry)], [lock.fileno()])
try:
    os.waitpid(-1, os.WNOHANG)
    print("a child")
except ChildProcessError:
    print("no child")
"""
    import json

    lock = tmp_path / "lock"
    command = [sys.executable, "-c", program, json.dumps(fetched), str(lock)]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout == "no child\n"
    with open(lock) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert Path(fetched.entry).read_bytes() == DATA


def test_where_it_cannot_start_nothing_is_kept(
    fetched: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_filling.sys, "executable", str(tmp_path / "none"))
    with open(tmp_path / "lock", "w") as lock:
        start([fetched], [lock.fileno()])
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert not Path(fetched.entry).exists()
