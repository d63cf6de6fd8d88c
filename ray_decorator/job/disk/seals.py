"""The seal by which an entry of a node's cache shows that nobody has written to it.

An entry's mtime is set when it is made, to a time that tells its size, and it is read-only.
"""

from __future__ import annotations

import os
import time

_YEAR_2000 = 946_684_800  # s; the mtime of an empty entry: zip knows no time before 1980
_USED_NS = 10_000_000_000
_SPREAD = 100_000_000  # s, some three years: whole seconds are kept by every file system


def seal(path: str) -> None:
    """Make a file an entry: from now on a change shows."""
    os.chmod(path, 0o444)
    mtime = _mtime_of(os.stat(path).st_size)
    os.utime(path, ns=(time.time_ns(), mtime))


def is_sealed(path: str) -> bool:
    """Whether there is an entry that is as it was when sealed."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return False
    return status.st_mtime_ns == _mtime_of(status.st_size) and not status.st_mode & 0o222


def used_now(path: str) -> None:
    """Note in its atime that an entry is used; its seal stays as it is."""
    status = os.stat(path)
    now = time.time_ns()
    if now - status.st_atime_ns > _USED_NS:
        os.utime(path, ns=(now, status.st_mtime_ns))


def _mtime_of(size: int) -> int:
    return (_YEAR_2000 + size % _SPREAD) * 1_000_000_000
