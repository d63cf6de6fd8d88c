"""Copies of files on a node, and the seal by which an entry of its cache shows that nobody has written to it.

An entry's mtime is set when it is made, to a time that tells its size, and it is read-only.
"""

from __future__ import annotations

import fcntl
import os
import shutil

_FICLONE = 0x40049409  # linux/fs.h
_YEAR_2000 = 946_684_800  # s; the mtime of an empty entry: zip knows no time before 1980
_SPREAD = 100_000_000  # s, some three years: whole seconds are kept by every file system
_CHUNK = 1024 * 1024


def copy(source: str, path: str, mode: int) -> None:
    """Make ``path``, which must not exist, of the bytes of ``source``: a reflink where the file system can.

    Raises OSError; then there is no ``path`` of ours.
    """
    with open(source, "rb", buffering=0) as read:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with open(fd, "wb", buffering=0) as written:
                try:
                    fcntl.ioctl(fd, _FICLONE, read.fileno())
                except OSError:  # another file system, or one that has no reflinks
                    shutil.copyfileobj(read, written, _CHUNK)
        except OSError:
            os.unlink(path)
            raise


def seal(path: str) -> None:
    """Make a file an entry: from now on a change shows."""
    os.chmod(path, 0o444)
    mtime = _mtime_of(os.stat(path).st_size)
    os.utime(path, ns=(mtime, mtime))


def is_sealed(path: str) -> bool:
    """Whether there is an entry that is as it was when sealed."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return False
    return status.st_mtime_ns == _mtime_of(status.st_size) and not status.st_mode & 0o222


def _mtime_of(size: int) -> int:
    return (_YEAR_2000 + size % _SPREAD) * 1_000_000_000
