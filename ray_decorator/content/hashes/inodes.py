"""Which file systems keep a file's inode number as long as the file is there: by it, a file is known under any path.

Others make numbers up as files are looked at (FAT, FUSE, CIFS): after a remount, a number may be another file's. With
their coarse times, files of one size from one archive could then be taken for one another.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_MOUNTS = "/proc/self/mountinfo"
_LASTING = {
    "bcachefs", "btrfs", "ceph", "ext2", "ext3", "ext4", "f2fs", "gpfs", "jfs", "lustre", "nfs", "nfs4", "overlay",
    "tmpfs", "xfs", "zfs",
}  # fmt: skip


def are_lasting(device: int, path: str) -> bool:
    """Whether the inode numbers of this device (``st_dev``), on which ``path`` is, belong to one file each.

    To be asked anew for each look at files: another mount may take the number of one that is gone.
    """
    try:
        mounts = Path(_MOUNTS).read_text(errors="surrogateescape")
    except OSError:  # not Linux: where homes are, there are such numbers
        return device == os.stat(Path.home()).st_dev
    return _type_of(os.path.realpath(path), mounts) in _LASTING


def _type_of(path: str, mounts: str) -> str:
    """The type of the file system that the real path is on (proc_pid_mountinfo(5)). A later mount hides others."""
    found = ("", "")
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        point = _unescaped(fields.split(" ")[4])
        inside = path == point or path.startswith(os.path.join(point, ""))
        if inside and len(point) >= len(found[0]):
            found = (point, rest.split(" ")[0])
    return found[1]


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
