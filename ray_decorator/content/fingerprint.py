"""Whether anything below a path has changed, told by names, kinds, sizes and times: no file is read."""

from __future__ import annotations

import os
import stat

from .manifest import md5


def fingerprint(path: str) -> str:
    """An md5 of the stamps of all that is at and below ``path``; "" where nothing can be seen there."""
    try:
        status = os.stat(path)
    except OSError:
        return ""
    seen = [_line("", status)]
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(os.path.join(path, folder)) as entries:
                for entry in entries:
                    relpath = folder + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(relpath + "/")
                    else:
                        seen.append(_line(relpath, entry.stat(follow_symlinks=False)))
        except OSError:  # a file, or gone meanwhile
            continue
    return md5("\n".join(sorted(seen)).encode(errors="surrogateescape")).hexdigest()


def _line(relpath: str, status: os.stat_result) -> str:
    if stat.S_ISDIR(status.st_mode):  # only what is in it counts
        return f"/ {status.st_mode} {status.st_ino}"
    return f"{relpath} {status.st_mode} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
