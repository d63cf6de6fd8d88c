"""This machine, and whether two processes see the same path on it.

Standard library only: `node.entry` carries `boot_id` to nodes that have nothing of ours.
"""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from pathlib import Path

from ..values.model import PathId

_SYSCTL_SECONDS = 5.0


def boot_id() -> str:
    """What tells this machine, since its last start, from every other one.

    Linux's own boot id, or that of macOS (``sysctl kern.bootsessionuuid``); elsewhere the host's name.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:  # no Linux
        pass
    try:
        command = ["sysctl", "-n", "kern.bootsessionuuid"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SYSCTL_SECONDS)
    except (OSError, subprocess.SubprocessError):  # no macOS either
        return platform.node()
    return done.stdout.strip() or platform.node()


_known_boot_id = functools.cache(boot_id)


def path_id(path: Path) -> PathId | None:
    """The mark by which another process recognises ``path``; None where nothing is there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return PathId(str(path), _known_boot_id(), status.st_dev, status.st_ino)


def is_same_path(marked: PathId) -> bool:
    """Whether this process sees the very file or directory that ``marked`` was made of.

    A path alone does not say it: the boot id names the machine, device and inode name what is there.
    """
    try:
        status = os.stat(marked.path)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (marked.device, marked.inode) and boot_id() == marked.boot_id
