"""Copies of files that share their bytes until one of them is written to, where the file system can."""

from __future__ import annotations

import fcntl
import os
import shutil

_FICLONE = 0x40049409  # linux/fs.h
_CHUNK = 1024 * 1024


def copy_file(source: str, target: str, *, writable: bool = False) -> None:
    """Make the file ``target``, which must not exist, with the bytes, mode and times of ``source``.

    ``writable``: the user may write to it, whatever the mode of ``source``. Raises OSError.
    """
    with open(source, "rb") as read, open(target, "xb") as written:
        try:
            fcntl.ioctl(written.fileno(), _FICLONE, read.fileno())
        except OSError:  # another file system, or one without reflinks
            shutil.copyfileobj(read, written, _CHUNK)
    shutil.copystat(source, target)
    if writable:
        os.chmod(target, os.stat(target).st_mode | 0o200)
