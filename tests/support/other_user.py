"""Another user of this machine, for tests that run as root: a program starts as that one.

    python other_user.py UID command argument…

An interpreter that only root can reach (below /root, say) is shown to that user in a mount namespace of its own.
"""

from __future__ import annotations

import ctypes
import os
import sys

_NEW_MOUNTS = 0x00020000
_BIND, _RECURSIVE, _PRIVATE = 4096, 16384, 1 << 18


def main(uid: int, command: list[str]) -> None:
    base = os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))
    closed = _first_closed(base)
    if closed is not None:
        _show(base, closed)
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    os.execvp(command[0], command)


def _first_closed(path: str) -> str | None:
    parts = path.split("/")
    above = ("/".join(parts[:n]) for n in range(2, len(parts) + 1))
    return next((folder for folder in above if not os.stat(folder).st_mode & 0o001), None)


def _show(path: str, closed: str) -> None:
    """Let ``closed`` be a directory that has nothing but ``path``, for this process and what it starts."""
    _call("unshare", _NEW_MOUNTS)
    _call("mount", b"none", b"/", None, ctypes.c_ulong(_RECURSIVE | _PRIVATE), None)
    handle = os.open(path, os.O_PATH)
    _call("mount", b"tmpfs", os.fsencode(closed), b"tmpfs", ctypes.c_ulong(0), b"mode=755")
    os.makedirs(path)
    source = b"/proc/self/fd/%d" % handle
    _call("mount", source, os.fsencode(path), None, ctypes.c_ulong(_BIND | _RECURSIVE), None)
    os.close(handle)


def _call(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
