"""One node's processes, as a program: it runs a command, and ends it and all that it started at end of stdin.

    python cluster_node.py '{"hide": […], "show": […], "hostname": …}' command argument…

With ``hide``, the command runs in a mount namespace of its own, where those directories are empty but for
what ``show`` names, and where the machine has another host name and boot id: as on another machine. Needs
root then. Whatever way the test session ends, its end of the pipe closes, and nothing of the node stays.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence

_LIBC = ctypes.CDLL(None, use_errno=True)
_SET_CHILD_SUBREAPER = 36
_NEW_MOUNTS, _NEW_HOSTNAME = 0x00020000, 0x04000000
_BIND, _RECURSIVE, _PRIVATE = 4096, 16384, 1 << 18


def main(options: dict[str, object], command: list[str]) -> int:
    _call("prctl", _SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans stay our descendants, to be found and killed
    if options["hide"]:
        isolate(options["hide"], options["show"], str(options["hostname"]))
    # a test run that was put in the background ignores it, and Ray cancels a task by it
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    code = child.wait()
    kill_descendants()
    return code


def isolate(hide: Sequence[str], show: Sequence[str], hostname: str) -> None:
    """Leave this process, and those that it starts, without the directories; ``show`` stays, at its paths."""
    _call("unshare", _NEW_MOUNTS | _NEW_HOSTNAME)
    _call("sethostname", hostname.encode(), len(hostname))
    _mount(b"none", b"/", None, _RECURSIVE | _PRIVATE)
    kept = {path: os.open(path, os.O_PATH) for path in show}
    for path in hide:
        _mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0)
        os.chmod(path, 0o1777)
    for path, handle in kept.items():
        if not os.path.exists(path):
            os.makedirs(path)
            _mount(b"/proc/self/fd/%d" % handle, os.fsencode(path), None, _BIND | _RECURSIVE)
        os.close(handle)
    boot_id = os.path.join(hide[0], ".boot_id")
    with open(boot_id, "w") as file:
        file.write(f"{uuid.uuid4()}\n")
    _mount(os.fsencode(boot_id), b"/proc/sys/kernel/random/boot_id", None, _BIND)


def descendants(root: int) -> list[int]:
    """The processes below ``root``, zombies left out."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, parent = file.read().rpartition(b")")[2].split()[:2]
            except OSError:  # it has ended meanwhile
                continue
            if state != b"Z":
                parents[int(name)] = int(parent)
    found, frontier = [], {root}
    while frontier:
        frontier = {pid for pid, parent in parents.items() if parent in frontier}
        found += frontier
    return found


def kill_descendants() -> None:
    """Kill and reap, until there is none: what one of them starts meanwhile becomes ours as well."""
    while True:
        for pid in descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    kill_descendants()
    os._exit(0)


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int) -> None:
    _call("mount", source, target, kind, ctypes.c_ulong(flags), None)


def _call(name: str, *arguments: object) -> None:
    if getattr(_LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2:]))
