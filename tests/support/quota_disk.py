"""A disk that answers with an error: files can be made there, and no byte or directory. A real mount.

So a disk is whose user has no quota left; other errors are those of one that is broken, or read-only since then.

It speaks the kernel's FUSE protocol (linux/fuse.h, 7.31) as far as an empty directory needs it. Kernels with quotas
for file systems in memory are rare.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_SILENT = {2, 36, 42}  # forget, interrupt, batch_forget
_DONE = {10, 11, 18, 20, 25, 29}  # unlink, rmdir, release, fsync, flush, releasedir
_ERROR, _TAKES_BYTES = errno.EDQUOT, False
_OVER = {6, 8, 9, 12, 13, 16, 45}  # symlink, mknod, mkdir, rename, link, write, rename2


@contextlib.contextmanager
def quota_disk(at: Path, error: int = errno.EDQUOT, *, takes_bytes: bool = False) -> Iterator[Path]:
    """Mounted at ``at``, answers with ``error``. Skips the test where one may not mount.

    ``takes_bytes``: writing does well, and what follows, such as to rename the file, does not.
    """
    if sys.platform != "linux" or os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("only root on Linux with FUSE may mount")
    at.mkdir(parents=True)
    with subprocess.Popen([sys.executable, __file__, str(at), str(error), str(int(takes_bytes))]) as process:
        try:
            deadline = time.monotonic() + 30
            while not os.path.ismount(at):
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.skip("FUSE cannot mount here")
                time.sleep(0.02)
            yield at
        finally:
            subprocess.run(["umount", "-l", str(at)], check=True)
            process.kill()


def _attributes(node: int) -> bytes:
    mode, now = (0o40755 if node == 1 else 0o100600), int(time.time())
    return struct.pack("<6Q10I", node, 0, 0, now, now, now, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def _reply(code: int, node: int, made: int, request: bytes) -> bytes | int:
    match code:
        case 16 if _TAKES_BYTES:  # write: how many bytes, which stand behind two headers
            return request[56:60] + bytes(4)
        case 26:  # init
            return struct.pack("<4I2H2I2H8I", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, *[0] * 8)
        case 1:  # lookup
            return errno.ENOENT
        case 3 | 4:  # getattr, setattr
            return struct.pack("<QII", 60, 0, 0) + _attributes(node)
        case 35:  # create
            entry = struct.pack("<4Q2I", made, 0, 60, 60, 0, 0) + _attributes(made)
            return entry + struct.pack("<QII", made, 0, 0)
        case 14 | 27:  # open, opendir
            return struct.pack("<QII", 0, 0, 0)
        case 28 | 44:  # readdir, readdirplus
            return b""
        case 17:  # statfs: the disk itself has room
            return struct.pack("<5Q10I", 1 << 20, 1 << 19, 1 << 19, 1000, 900, 4096, 255, 4096, *[0] * 7)
    return b"" if code in _DONE else _ERROR if code in _OVER else errno.ENOSYS


def _serve(device: int) -> None:
    for made in range(2, sys.maxsize):
        try:
            request = os.read(device, 1 << 20)
        except OSError:  # unmounted
            return
        code, unique, node = struct.unpack_from("<IQQ", request, 4)
        if code not in _SILENT:
            reply = _reply(code, node, made, request)
            error, data = (0, reply) if isinstance(reply, bytes) else (-reply, b"")
            os.write(device, struct.pack("<IiQ", 16 + len(data), error, unique) + data)


if __name__ == "__main__":
    _ERROR, _TAKES_BYTES = int(sys.argv[2]), bool(int(sys.argv[3]))
    opened = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={opened},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"quota", sys.argv[1].encode(), b"fuse.quota", 0, options):
        sys.exit(os.strerror(ctypes.get_errno()))
    _serve(opened)
