"""Files that a job wrote on the driver's own machine come to their places, and those that it may write are copied.

A file is renamed into place; across file systems, or where it is known by other names, it is copied beside its
place and renamed there. What stands at the place is merged with as `merge` says. Nothing is hashed.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import itertools
import os
from pathlib import Path

from .manifest import Row
from .merge import Target, plan
from .reflink import copy_file
from .snapshot import files_of
from .temporary import beside, clear_stale


def move(source: Path, destination: Path) -> None:
    """Merge the file or directory ``source`` into what stands at ``destination``.

    Raises InputError naming all that is in the way there, before anything is changed; OSError.
    """
    # what the job reached through a link of its own making is not its own, and stays where it is
    top = "" if source.is_symlink() else os.path.realpath(source)
    files = dict(files_of(source))
    planned = plan(destination, [Row(relpath, "") for relpath in files])
    for folder in planned.folders:
        os.makedirs(folder, exist_ok=True)
    clear_stale({os.path.dirname(target.path) for target in planned.targets} - set(planned.folders))
    for target in planned.targets:
        _move_file(files[target.row.relpath], target, top)


def move_aside(source: Path, destination: Path) -> Path:
    """Bring ``source`` beside ``destination``, where something is in the way of it; says where."""
    free = free_name_beside(destination)
    move(source, free)
    return free


def free_name_beside(destination: Path) -> Path:
    """A name of ours beside ``destination`` that nothing has: ``model.pkl.ray_s3``, ``model.pkl.ray_s3-1``, …"""
    names = (f"{destination.name}.ray_s3{f'-{n}' if n else ''}" for n in itertools.count())
    return next(path for name in names if not os.path.lexists(path := destination.with_name(name)))


def copy(source: Path, destination: Path) -> None:
    """Copy a file, or a directory's files, for a job that may write to them; by reflink where that can be.

    What a directory holds beside files is left out, as from a snapshot of it.
    """
    files = files_of(source)
    folders = {os.path.dirname(destination / relpath) for relpath, _ in files}
    for folder in {*folders, *([str(destination)] if source.is_dir() else [])}:
        os.makedirs(folder, exist_ok=True)
    for relpath, path in files:
        copy_file(path, str(destination / relpath) if relpath else str(destination), writable=True)


def _move_file(path: str, target: Target, top: str) -> None:
    if (
        target.stamp is not None
        and os.path.islink(target.path)
        and filecmp.cmp(path, target.path, shallow=False)
    ):
        return  # what is already right stays a link
    if top and not os.path.islink(path) and (path == top or path.startswith(os.path.join(top, ""))):
        try:
            os.rename(path, target.path)
            return
        except OSError as exc:
            if exc.errno not in (errno.EXDEV, errno.EPERM):
                raise
    temporary = beside(target.path)
    try:
        copy_file(path, temporary)
        os.replace(temporary, target.path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
