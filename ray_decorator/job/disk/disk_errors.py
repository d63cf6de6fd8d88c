"""What a node's disk does wrong becomes one error, with the path, the node, the cause and what to do."""

from __future__ import annotations

import errno
import os
import shutil
import socket

from ...core.errors import InputError, NodeDiskError, RayS3Error
from ...core.machine.directories import node_root
from ...core.units import human_size

_FULL = {errno.ENOSPC, errno.EDQUOT}
_ELSEWHERE = "or set RAY_S3_NODE_DIR on the node to a directory on another disk"
_CURES = {
    errno.EROFS: "It is mounted read-only, as Linux does with a disk that had errors (see dmesg there): mount it "
    "writable",
    errno.EIO: "It, or the way to it, is broken (see dmesg there): repair it",
    errno.ESTALE: "It is a network disk that was mounted or exported anew: mount it again",
    errno.ENOTCONN: "What served it has gone: mount it again",
    errno.EACCES: "Let the user that runs Ray there (uid {uid}) read and write it",
    errno.EPERM: "Let the user that runs Ray there (uid {uid}) read and write it",
    errno.ENAMETOOLONG: "It takes no names or paths of that length: shorten them",
}


def is_full(error: BaseException) -> bool:
    """Whether it tells that a disk, or a user's share of it, is full."""
    fault = _fault(error)
    return fault is not None and fault.errno in _FULL


def of_disk(error: BaseException) -> BaseException:
    """A NodeDiskError with the cause ``error``, where a disk of this node is to blame; else the error itself."""
    if (fault := _fault(error)) is None:
        return error
    made = NodeDiskError(_full(fault) if fault.errno in _FULL else _unusable(fault))
    made.__cause__ = error
    return made


def _fault(error: BaseException) -> OSError | None:
    """What the disk said, also where a directory of ours could not be made for that."""
    if isinstance(error, InputError) and isinstance(error.__cause__, OSError):
        return _fault(error.__cause__)
    if isinstance(error, OSError) and not isinstance(error, RayS3Error) and error.errno in {*_FULL, *_CURES}:
        return error
    return None


def _full(error: OSError) -> str:
    root = node_root()
    try:
        usage = shutil.disk_usage(root)
        free = f"{human_size(usage.free)} of {human_size(usage.total)} are free at {root}"
    except OSError as exc:
        free = f"how much is free at {root} is not to be seen ({exc.strerror})"
    return (
        f"the disk of node {socket.gethostname()} is full ({error.strerror}: {error.filename or root}): {free}, and "
        "nothing that was kept for later jobs is left there. Free space on it, or set RAY_S3_NODE_DIR on the node to "
        "a directory with more"
    )


def _unusable(error: OSError) -> str:
    cure = _CURES[error.errno or 0].format(uid=os.getuid())
    said = f"{error.strerror}: {error.filename or node_root()}"
    return f"the disk of node {socket.gethostname()} cannot be used ({said}). {cure}, {_ELSEWHERE}"
