"""A file system that takes ``A`` for ``a``, and an ``ü`` for its other unicode form: a real mount, by rclone.

rclone has Linux mount it through a helper, ``fusermount3``, which belongs to the system: this file is one, for root.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

_NOSUID_NODEV = 6

FoldingDisk = Callable[[Path], AbstractContextManager[tuple[Path, int]]]
"""What the fixture ``folding_disk`` gives."""


@pytest.fixture
def folding_disk() -> FoldingDisk:
    """`mounted`. Its name marks the tests that use it."""
    return mounted


@contextlib.contextmanager
def mounted(work: Path) -> Iterator[tuple[Path, int]]:
    """Its mount point, below ``work``, and the process that serves it. Skips the test where one may not mount."""
    if sys.platform != "linux" or os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("only root on Linux with FUSE may mount")
    for name in ("behind", "mounted", "bin", "cache"):
        (work / name).mkdir(parents=True)
    helper = work / "bin" / "fusermount3"
    helper.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} "$@"\n')
    helper.chmod(0o755)
    at = work / "mounted"
    command = [
        os.path.join(os.path.dirname(sys.executable), "rclone"), "mount", str(work / "behind"), str(at),
        "--vfs-case-insensitive", "--vfs-cache-mode", "off", "--cache-dir", str(work / "cache"),
        "--dir-cache-time", "0s", "--vfs-write-back", "0s", "--config", "/dev/null",
    ]  # fmt: skip
    environ = {**os.environ, "PATH": f"{work / 'bin'}:{os.environ['PATH']}"}
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 30
            while not os.path.ismount(at):
                if process.poll() is not None or time.monotonic() > deadline:
                    process.kill()
                    pytest.skip(f"rclone cannot mount here: {process.communicate()[1].strip()}")
                time.sleep(0.05)
            yield at, process.pid
        finally:
            # whether it is one cannot be seen where its server is gone
            subprocess.run(["umount", "-l", str(at)], capture_output=True)
            process.terminate()
            process.communicate(timeout=60)


def _mount(place: str) -> None:
    device = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,default_permissions".encode()
    if libc.mount(b"rclone", place.encode(), b"fuse.rclone", _NOSUID_NODEV, options):
        sys.exit(os.strerror(ctypes.get_errno()))
    with socket.socket(fileno=int(os.environ["_FUSE_COMMFD"])) as asked:
        socket.send_fds(asked, [b"\0"], [device])


if __name__ == "__main__":
    if "-u" not in sys.argv:
        _mount(sys.argv[-1])
