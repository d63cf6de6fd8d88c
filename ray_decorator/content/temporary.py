"""Files appear whole: written under a name that all who look ignore, then renamed over the target.

A killed process leaves such names behind. They say which process made them, so that the next one to
work in the same directory can clear them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import re
import shutil
import time
from collections.abc import Iterable

from ..core.machine.this_machine import boot_id

_NAME = re.compile(r"\.ray_s3-([0-9a-f]{8})-(\d+)-\d+\.tmp\Z")
_FOREIGN_SECONDS = 24 * 3600.0  # another machine's processes cannot be looked up here
_count = itertools.count()


def beside(path: str) -> str:
    """A new temporary's path in the directory of ``path``."""
    name = f".ray_s3-{_machine()}-{os.getpid()}-{next(_count)}.tmp"
    return os.path.join(os.path.dirname(path), name)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one of ours, and not the user's."""
    return name.startswith(".ray_s3-") and _NAME.match(name) is not None


def remove(path: str) -> None:
    """Remove a temporary, a file or a whole directory, if it is there. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def clear_stale(directories: Iterable[str]) -> None:
    """Remove the temporaries that dead processes left in these directories."""
    for directory in directories:
        with contextlib.suppress(OSError):
            for name in os.listdir(directory):
                if is_temporary(name):
                    _clear(os.path.join(directory, name), name)


def _clear(path: str, name: str) -> None:
    match = _NAME.match(name)
    assert match is not None
    with contextlib.suppress(OSError):
        if match[1] == _machine():
            stale = _dead(int(match[2]))
        else:
            stale = time.time() - os.stat(path).st_mtime > _FOREIGN_SECONDS
        if stale:
            remove(path)


def _dead(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


@functools.cache
def _machine() -> str:
    """Eight hex digits that differ between machines, and between containers whose pids do."""
    marks = [os.uname().nodename, boot_id()]
    with contextlib.suppress(OSError):
        marks.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.md5("".join(marks).encode(), usedforsecurity=False).hexdigest()[:8]
