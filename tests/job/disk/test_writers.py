"""Writes that no time tells of: files that are still open, and pages of a file system in memory."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from disks import disk
from trees import tree

from ray_decorator.content.looking.fingerprint import fingerprint
from ray_decorator.job.disk.writers import is_written_to, may_go_unseen

as_root = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="a mode keeps all others from writing"
)


def data(root: Path) -> Path:
    made = tree(root, {"sub/a": b"x" * 8192, "b": b"y"})
    for file in (made / "sub" / "a", made / "b"):
        file.chmod(0o444)
    time.sleep(0.05)
    return made


def write_through_a_map(file: Path) -> None:
    """As a program that loads an array from the file, and then changes it in place."""
    with open(file, "r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
        assert mapped[:1] == b"x"
        mapped[:1] = b"z"


@as_root
def test_a_file_that_is_still_open_for_writing_is_seen(tmp_path: Path) -> None:
    root = data(tmp_path / "t")
    with open(root / "sub" / "a", "rb"):
        assert not is_written_to(str(root))
    with open(root / "sub" / "a", "r+b") as opened:
        assert is_written_to(str(root))
        mapped = mmap.mmap(opened.fileno(), 0)
    assert is_written_to(str(root)), "it is mapped"
    mapped.close()
    assert not is_written_to(str(root))


@as_root
def test_one_that_another_process_has_open_is_seen(tmp_path: Path) -> None:
    root = data(tmp_path / "t")
    program = "import sys; f = open(sys.argv[1], 'r+b'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(root / "b")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None and writer.stdin is not None
        assert writer.stdout.readline() == b"open\n"
        assert is_written_to(str(root))
        writer.stdin.close()
    assert not is_written_to(str(root))


@as_root
def test_pages_of_a_file_system_in_memory(tmp_path: Path) -> None:
    with disk(tmp_path / "memory", "size=1m") as memory:
        root = data(memory.path / "t")
        before = fingerprint(str(root))
        write_through_a_map(root / "sub" / "a")
        assert may_go_unseen(str(memory.path)) or fingerprint(str(root)) != before


def test_here_a_write_shows_or_is_known_not_to(tmp_path: Path) -> None:
    root = data(tmp_path / "t")
    before = fingerprint(str(root))
    if os.geteuid() != 0:
        assert not may_go_unseen(str(tmp_path))
        (root / "sub" / "a").chmod(0o644)
    write_through_a_map(root / "sub" / "a")
    assert may_go_unseen(str(tmp_path)) or fingerprint(str(root)) != before
