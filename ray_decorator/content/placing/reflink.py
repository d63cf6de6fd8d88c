"""Copies of files that share their bytes until one of them is written to, where the file system can."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile

_FICLONE = 0x40049409  # linux/fs.h
_CHUNK = 1024 * 1024


def copy_bytes(source: str, path: str, mode: int) -> None:
    """Make ``path``, which must not exist, of the bytes of ``source``.

    Raises OSError; then there is no ``path`` of ours.
    """
    with open(source, "rb", buffering=0) as read:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with open(fd, "wb") as written:  # buffered: it writes all, or raises
                try:
                    fcntl.ioctl(fd, _FICLONE, read.fileno())
                except OSError:  # another file system, or one that has no reflinks
                    shutil.copyfileobj(read, written, _CHUNK)
        except OSError:
            os.unlink(path)
            raise


def copy_file(source: str, path: str, *, writable: bool = False) -> None:
    """As `copy_bytes`, with mode and times of ``source``; ``writable``: the user may write to it in any case."""
    copy_bytes(source, path, 0o600)
    try:
        shutil.copystat(source, path)
        if writable:
            os.chmod(path, os.stat(path).st_mode | 0o200)
    except OSError:
        os.unlink(path)
        raise


def works_in(directory: str) -> bool:
    """Whether files there can share their bytes. Only Linux is asked: True elsewhere. Raises OSError."""
    if sys.platform != "linux":
        return True
    with tempfile.TemporaryFile(dir=directory) as source, tempfile.TemporaryFile(dir=directory) as clone:
        source.write(b"x")
        source.flush()
        try:
            fcntl.ioctl(clone, _FICLONE, source.fileno())
        except OSError:
            return False
    return True
