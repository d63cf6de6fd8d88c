"""What the system tells of processes: in /proc, and by the program ``ps`` where there is no /proc (macOS).

Of a process that has ended there is nothing to tell: no children, no command. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterable, Iterator

HAS_PROC = os.path.isdir("/proc/self/task")

_PS_SECONDS = 10.0
_START_SECONDS = 0.2
_TICK = 0.005


def children(pid: int) -> list[int]:
    """The processes that this one has started, and those that it has adopted."""
    if not HAS_PROC:
        return _parents().get(pid, [])
    found: list[int] = []
    with contextlib.suppress(OSError):  # it has ended
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as file:
                found.extend(map(int, file.read().split()))
    return found


def descendants(pids: Iterable[int]) -> Iterator[int]:
    """These, and all below them."""
    below = children if HAS_PROC else _Below()
    pending = list(pids)
    while pending:
        pid = pending.pop()
        yield pid
        pending.extend(below(pid))


def runs(pid: int) -> bool:
    """Whether it has not ended; of a zombie, only its exit code is left."""
    if HAS_PROC:
        try:
            with open(f"/proc/{pid}/stat") as file:
                state = file.read().rpartition(")")[2].split()[0]
        except OSError:
            return False
    else:
        state = _ps("-o", "stat=", "-p", str(pid))[1].strip()
    return state[:1] not in ("", "Z", "X")


def command(pid: int) -> str:
    """Its command line; empty where it has ended."""
    if not HAS_PROC:
        return _ps("-ww", "-o", "command=", "-p", str(pid))[1].strip()
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode(errors="surrogateescape")
    return ""


def has_variable(pid: int, item: str) -> bool:
    """Whether ``NAME=value`` is in the environment that it was started with.

    Of a process that is just being started (execve(2)) Linux tells none for a moment.
    """
    if not HAS_PROC:  # ps shows the environment behind the command
        return item in _ps("eww", "-o", "command=", "-p", str(pid))[1].split()
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                environ = file.read()
        except OSError:
            return False
        if environ or time.monotonic() > deadline or not runs(pid):
            return item.encode() in environ.split(b"\0")
        time.sleep(_TICK)


class _Below:
    """`children`, from one answer of ps."""

    def __init__(self) -> None:
        self._all = _parents()

    def __call__(self, pid: int) -> list[int]:
        return self._all.get(pid, [])


def _parents() -> dict[int, list[int]]:
    """The children of all processes, by their parents; ps itself is none of them."""
    found: dict[int, list[int]] = {}
    own, lines = _ps("-A", "-o", "pid=,ppid=")
    for line in lines.splitlines():
        child, parent = map(int, line.split())
        if child != own:
            found.setdefault(parent, []).append(child)
    return found


def _ps(*arguments: str) -> tuple[int, str]:
    """The pid of ps, and what it prints; nothing where it cannot be started or does not end."""
    try:
        with subprocess.Popen(
            ["ps", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            errors="surrogateescape",
        ) as process:
            try:
                return process.pid, process.communicate(timeout=_PS_SECONDS)[0]
            except subprocess.TimeoutExpired:
                process.kill()
                return process.pid, ""
    except OSError:
        return 0, ""
