"""What a job here has started is killed when the job's process is: by a crash, a cancel, the driver's end.

    Ray worker ── reaper (this program, in a session of its own)
        └── what its jobs start, also in sessions of their own

On the driver's machine jobs run in Ray's own workers. These are no children of ours, as runners elsewhere are
(node.guard): nobody would know of what outlives one. So each has a reaper, which waits until its parent is gone,
and then kills (SIGKILL) what bears the worker's mark. All that it starts inherits that, whatever session or
environment it is given: a bound of its own for the time that a real-time process may run without a pause
(RLIMIT_RTTIME), of some 36,000 years. Where the system has a bound already, nothing is marked. Spared is what has
RAY_S3_KEEP=1 in its environment.

A worker that Ray ends kills its children first, kept ones and the reaper among them. It is told not to, where it
has a reaper (node.retirement).

Linux only: it reads /proc. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .leftovers import is_told_to_live_on

_RTTIME = 15  # RLIMIT_RTTIME of <linux/resource.h>, in microseconds, for which Python has no name
_BASE, _TOKENS = 1 << 60, 1 << 40
_TICK = 0.5
_SECONDS = 5.0  # of looking again, for what is being forked meanwhile
_LOOKS = 2  # in a row that find nothing: it is done sooner

_watched: set[int] = set()


def watch() -> bool:
    """Have a reaper for this process, once; whether one has been started now."""
    if sys.platform != "linux" or os.getpid() in _watched:
        return False
    hard = resource.getrlimit(_RTTIME)[1]
    if hard != resource.RLIM_INFINITY:
        return False
    token = _BASE + secrets.randbelow(_TOKENS)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    subprocess.Popen(
        [sys.executable, "-S", "-m", __name__, str(os.getpid()), str(token)],
        stdin=subprocess.DEVNULL,
        env=environ,
        cwd="/",
        start_new_session=True,  # else it ends with the worker's process group
    )
    resource.setrlimit(_RTTIME, (token, hard))
    _watched.add(os.getpid())
    return True


def main() -> None:
    """Wait for the parent's end, and kill what it has left."""
    parent, token = int(sys.argv[1]), sys.argv[2]
    while os.getppid() == parent:
        time.sleep(_TICK)
    deadline, in_vain = time.monotonic() + _SECONDS, 0
    while in_vain < _LOOKS and time.monotonic() < deadline:
        in_vain += 1
        for pid in _marked(token.encode()):
            in_vain = 0
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_TICK)


def _marked(token: bytes) -> Iterator[int]:
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if not name.isdigit() or token not in Path("/proc", name, "limits").read_bytes():
                continue
            if not is_told_to_live_on(int(name)):
                yield int(name)


if __name__ == "__main__":
    main()
