"""What a job here has started is killed when the job's process is: by a crash, a cancel, the driver's end.

    Ray worker ── reaper (this program, in a session of its own)
        └── what its jobs start, also in sessions of their own

On the driver's machine jobs run in Ray's own workers. These are no children of ours, as runners elsewhere are
(node.guard): nobody would know of what outlives one. So each has a reaper, which waits until its parent is gone,
and then kills (SIGKILL) what bears the worker's mark: a variable in its environment, or, where it was forked and has
run no other program, the worker's pipe. Spared is what has RAY_S3_KEEP=1 in its environment. A process that was
started without the worker's environment has no mark.

Linux only: it reads /proc. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from .leftovers import KEEP

MARK = "RAY_S3_WORKER"
_TICK = 0.5
_SECONDS = 5.0  # of looking again, for what is being forked meanwhile

_watched: dict[int, int] = {}
"""This process's id, and its end of the pipe. A forked child has none of its own."""


def watch() -> None:
    """Have a reaper for this process, once."""
    if sys.platform != "linux" or os.getpid() in _watched:
        return
    reads, writes = os.pipe()
    token = uuid.uuid4().hex
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)}
    environ.pop(MARK, None)
    subprocess.Popen(
        [sys.executable, "-S", "-m", __name__, str(os.getpid()), token, str(os.fstat(writes).st_ino)],
        stdin=subprocess.DEVNULL,
        env=environ,
        cwd="/",
        start_new_session=True,  # else Ray kills it with the worker
    )
    os.close(reads)
    _watched[os.getpid()] = writes
    os.environ[MARK] = token


def main() -> None:
    """Wait for the parent's end, and kill what it has left."""
    parent, token, pipe = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    while os.getppid() == parent:
        time.sleep(_TICK)
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        for pid in _marked(f"{MARK}={token}".encode(), f"pipe:[{pipe}]"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_TICK)


def _marked(variable: bytes, pipe: str) -> Iterator[int]:
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if name.isdigit() and int(name) != os.getpid() and _is_marked(name, variable, pipe):
                yield int(name)


def _is_marked(pid: str, variable: bytes, pipe: str) -> bool:
    environ = Path("/proc", pid, "environ").read_bytes().split(b"\0")
    if KEEP in environ:
        return False
    return variable in environ or any(os.readlink(fd.path) == pipe for fd in os.scandir(f"/proc/{pid}/fd"))


if __name__ == "__main__":
    main()
