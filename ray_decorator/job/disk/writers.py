"""Files that are being written to, and writes that no time tells of.

Of read-only files only root's can be such: any other user has to chmod one, which changes its ctime, and no program
can set that back.

    a file that is still open for writing, or mapped      seen by asking for a read lease: see fcntl(2), F_SETLEASE
    a page written through a map, on a file system in     not to be seen: Linux changes no time, if the page was read
      memory (tmpfs), or on one that is not known           before
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import sys

_TELL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "overlay", "zfs"}
"""Kinds of file systems on which a write through a map changes the ctime before, or as, it happens."""


def may_go_unseen(folder: str) -> bool:
    """Whether this user could have changed a read-only file in ``folder`` such that its ctime does not tell."""
    return os.geteuid() == 0 and _kind(folder) not in _TELL


def is_written_to(path: str) -> bool:
    """Whether a file at or below ``path`` may be open for writing: asked where this user is root alone."""
    if os.geteuid() != 0:
        return False
    pending = [path]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_file(follow_symlinks=False) and has_writer(entry.path):
                    return True
    return False


def has_writer(path: str) -> bool:
    """Whether a file of this user's is open for writing, or mapped so; False where there are no leases.

    Raises OSError where it cannot be opened.
    """
    if sys.platform != "linux":
        return False
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        # who opens it meanwhile breaks the lease, which is told by a signal: one that does not end a process
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as exc:
        return exc.errno == errno.EAGAIN  # anything else: no leases here, as on a network file system
    finally:
        os.close(fd)  # with the lease
    return False


def _kind(folder: str) -> str:
    """What the kernel calls the file system of ``folder``; "" where it does not say."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        device = os.stat(folder).st_dev
        mark = f"{os.major(device)}:{os.minor(device)}"
        with open("/proc/self/mountinfo") as mounts:
            for line in mounts:
                fields = line.split()
                if fields[2] == mark:
                    return fields[fields.index("-") + 1]
    return ""
