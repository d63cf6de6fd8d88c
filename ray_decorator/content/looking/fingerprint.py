"""Whether anything below a path has changed, told by names, kinds, sizes and times: no file is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Sequence

from ..manifest import md5


def fingerprint(path: str, without: Collection[str] = ()) -> str:
    """An md5 of the stamps of all that is at and below ``path``; "" where nothing can be seen there.

    ``without`` are paths that do not count, with all below them.

    A program can set an mtime back, but no ctime, which also a hard link changes that is made to a file.
    """
    try:
        seen = [_line("", os.stat(path))]
    except OSError:
        return ""
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(os.path.join(path, folder)) as entries:
                for entry in entries:
                    if entry.path in without:
                        continue
                    relpath = folder + entry.name
                    seen.append(_line(relpath, entry.stat(follow_symlinks=False)))
                    if entry.is_symlink():
                        seen.append(_behind(relpath, entry))
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(relpath + "/")
        except OSError:  # a file, or gone meanwhile
            continue
    return md5("\n".join(sorted(seen)).encode(errors="surrogateescape")).hexdigest()


def fingerprint_of(paths: Sequence[str]) -> str:
    """An md5 of the stamps of these files; links to files are followed."""
    seen = []
    for path in paths:
        try:
            seen.append(_line(path, os.stat(path)))
        except OSError:
            seen.append(path)
    return md5("\n".join(seen).encode(errors="surrogateescape")).hexdigest()


def _behind(relpath: str, link: os.DirEntry[str]) -> str:
    """The line of the file that a link leads to; directories behind links are not followed."""
    try:
        status = link.stat()
    except OSError:  # it leads nowhere
        return ""
    return _line(f"{relpath} ->", status) if stat.S_ISREG(status.st_mode) else ""


def _line(relpath: str, status: os.stat_result) -> str:
    if stat.S_ISDIR(status.st_mode):  # only what is in it counts
        return f"{relpath}/ {status.st_mode}"
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return f"{relpath} {status.st_mode} {status.st_ino} {status.st_size} {times}"
