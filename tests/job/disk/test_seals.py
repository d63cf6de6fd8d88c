"""An entry of the cache shows that somebody has written to it."""

from __future__ import annotations

import os
from pathlib import Path

from ray_decorator.job.disk.seals import is_sealed, seal


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
