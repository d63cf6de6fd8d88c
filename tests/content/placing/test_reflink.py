"""A copy has the bytes, mode and times of its source, and is a file of its own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dvc_objects.fs import localfs
from dvc_objects.fs.generic import test_links as links_that_work

from ray_decorator.content.placing.reflink import copy_bytes, copy_file, works_in


def test_a_copy_is_a_file_of_its_own(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"x" * 3_000_000)
    source.chmod(0o555)
    os.utime(source, ns=(1, 2_000_000_000))
    copy_file(str(source), str(target))
    assert target.read_bytes() == source.read_bytes()
    assert (target.stat().st_mode & 0o777, target.stat().st_mtime_ns) == (0o555, 2_000_000_000)
    assert target.stat().st_ino != source.stat().st_ino and source.stat().st_nlink == 1


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    with pytest.raises(FileExistsError):
        copy_file(str(tmp_path / "a"), str(tmp_path / "b"))
    assert (tmp_path / "b").read_bytes() == b"2"


def test_one_that_may_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "a").chmod(0o400)
    copy_file(str(tmp_path / "a"), str(tmp_path / "b"), writable=True)
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", [0, 5, 3_000_001])
def test_a_copy_shares_nothing(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    source, path = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(data)
    copy_bytes(str(source), str(path), 0o444)
    source.write_bytes(b"other")
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o444
    assert path.stat().st_nlink == 1
    with pytest.raises(FileExistsError):
        copy_bytes(str(source), str(path), 0o444)
    assert path.read_bytes() == data


def test_of_what_is_not_there_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copy_bytes(str(tmp_path / "none"), str(tmp_path / "copy"), 0o644)
    assert not (tmp_path / "copy").exists()


def test_a_disk_that_is_full_before_the_end_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x" * 1_248_576)
    code = (
        "import resource, signal, sys; from ray_decorator.content.placing.reflink import copy_bytes\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_148_576, 1_148_576))\n"
        "try: copy_bytes(sys.argv[1], sys.argv[2], 0o644)\n"
        "except OSError as exc: print(exc.errno)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "source"), str(tmp_path / "copy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(errno.EFBIG), done.stderr
    assert not (tmp_path / "copy").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked")
def test_where_they_work_is_where_dvc_finds_them_to(tmp_path: Path) -> None:
    for directory in (str(tmp_path), "/dev/shm"):
        assert works_in(directory) == bool(
            links_that_work(["reflink"], localfs, directory, localfs, f"{directory}/x")
        )
    assert not list(tmp_path.iterdir())
