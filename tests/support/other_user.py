"""Another user of this machine, for tests that run as root: a program starts as that one.

    python other_user.py UID command argument…

What only root can reach (below /root, or a directory that ``mktemp`` made) of the interpreter, its environment and
this project is shown to that user in a mount namespace of its own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

_NEW_MOUNTS = 0x00020000
_BIND, _RECURSIVE, _PRIVATE = 4096, 16384, 1 << 18
_REPO = Path(__file__).resolve().parents[2]


def main(uid: int, command: list[str]) -> None:
    _show([os.path.dirname(os.path.dirname(os.path.realpath(sys.executable))), sys.prefix, str(_REPO)])
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    os.execvp(command[0], command)


def _first_closed(path: str) -> str | None:
    parts = path.split("/")
    above = ("/".join(parts[:n]) for n in range(2, len(parts) + 1))
    return next((folder for folder in above if not os.stat(folder).st_mode & 0o001), None)


def _show(paths: Iterable[str]) -> None:
    """Let the first closed directory above each have nothing but these, for this process and what it starts."""
    closed = {path: top for path in paths if (top := _first_closed(path)) is not None}
    if not closed:
        return
    _call("unshare", _NEW_MOUNTS)
    _call("mount", b"none", b"/", None, ctypes.c_ulong(_RECURSIVE | _PRIVATE), None)
    handles = {path: os.open(path, os.O_PATH) for path in closed}
    for top in set(closed.values()):
        _call("mount", b"tmpfs", os.fsencode(top), b"tmpfs", ctypes.c_ulong(0), b"mode=755")
    for path, handle in handles.items():
        os.makedirs(path, exist_ok=True)
        source = b"/proc/self/fd/%d" % handle
        _call("mount", source, os.fsencode(path), None, ctypes.c_ulong(_BIND | _RECURSIVE), None)
        os.close(handle)


def _call(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
