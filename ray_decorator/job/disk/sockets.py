"""Where a job's process listens: beside its files, or in a directory of its own in /tmp where that path is too long.

    /tmp/ray_s3_aws_…/s

A process that is killed leaves its directory. Whether anybody still listens there tells the living from the dead,
also where another container's processes cannot be seen. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_LONGEST = 100  # bytes; a socket's path has 107 on Linux, 103 on macOS
_SHORT = "/tmp"
_PREFIX = "ray_s3_aws_"
_STARTING = 600.0  # seconds; it listens soon after the directory is made
_ANSWER_SECONDS = 1.0


def socket_path(directory: Path, stack: contextlib.ExitStack) -> Path:
    """Where a socket of a process that has ``directory`` can be; what is made for it goes with ``stack``."""
    path = directory / "s"
    if len(os.fsencode(path)) > _LONGEST:
        short = tempfile.mkdtemp(prefix=_PREFIX, dir=_SHORT)  # only this user may enter it
        stack.callback(shutil.rmtree, short, ignore_errors=True)
        path = Path(short) / "s"
    return path


def dead_directories() -> Iterator[str]:
    """Directories of this user's sockets at which nobody listens any more."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(_SHORT):
            with contextlib.suppress(OSError):  # gone meanwhile, or not for us to see
                if entry.name.startswith(_PREFIX) and _is_dead(entry):
                    yield entry.path


def clear_dead() -> None:
    """Remove them."""
    for path in dead_directories():
        shutil.rmtree(path, ignore_errors=True)


def _is_dead(entry: os.DirEntry[str]) -> bool:
    status = entry.stat(follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        return False
    if time.time() - status.st_mtime < _STARTING and not os.listdir(entry.path):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_ANSWER_SECONDS)
        try:
            probe.connect(os.path.join(entry.path, "s"))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:  # it is busy
            return False
    return False
