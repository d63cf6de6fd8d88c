"""Copies are of the bytes alone, and an entry shows that somebody has written to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ray_decorator.job.copying import copy, is_sealed, seal


@pytest.mark.parametrize("size", [0, 5, 3_000_001])
def test_a_copy_shares_nothing(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    source, path = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(data)
    copy(str(source), str(path), 0o444)
    source.write_bytes(b"other")
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o444
    assert path.stat().st_nlink == 1
    with pytest.raises(FileExistsError):
        copy(str(source), str(path), 0o444)
    assert path.read_bytes() == data


def test_of_what_is_not_there_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copy(str(tmp_path / "none"), str(tmp_path / "copy"), 0o644)
    assert not (tmp_path / "copy").exists()


def test_an_entry_shows_a_change(tmp_path: Path) -> None:
    entry = tmp_path / "entry"
    assert not is_sealed(str(entry))
    entry.write_bytes(b"data")
    assert not is_sealed(str(entry))
    seal(str(entry))
    assert is_sealed(str(entry))
    entry.chmod(0o644)
    assert not is_sealed(str(entry)), "it could be written to"
    times = entry.stat()
    entry.write_bytes(b"cut")
    os.utime(entry, ns=(times.st_atime_ns, times.st_mtime_ns))
    entry.chmod(0o444)
    assert not is_sealed(str(entry)), "its time does not tell its size"
