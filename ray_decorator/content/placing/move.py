"""Files that a job wrote on the driver's own machine come to their places, and those that it may write are copied.

A file is renamed into place; across file systems it is copied beside its place and renamed there, and so is what
the job reached through a link. What is at the place is merged with as `merge` says. Nothing is hashed.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..extras import close, closed_bits
from ..hashes.hash_cache import Stamp
from ..looking.snapshot import taken_from
from ..manifest import Row
from ..temporary import beside, clear_stale
from .merge import Plan, Target, plan
from .reflink import copy_file


def move(source: Path, destination: Path) -> None:
    """`move_all` of a single pair; raises its error."""
    [error] = move_all([(source, destination)])
    if error is not None:
        raise error


def move_all(
    pairs: Sequence[tuple[Path, Path]], untouched: Mapping[str, Stamp] | None = None
) -> list[Exception | None]:
    """Merge each file or directory into what is at its destination; what went wrong with each.

    ``untouched`` are files that were put there for the job, by path: those that still have that stamp stay where
    they are. An error is InputError, naming all that is in the way, before anything of that pair is changed; or
    OSError, with a note where a part has come. What could not be moved is still where it was.
    """
    moves = [_Move(source, destination, untouched or {}) for source, destination in pairs]
    # a link may lead to any other file of the job: all are read through before the first file goes away
    for step in (_Move.prepare, _Move.copy_linked, _Move.rename, _Move.link):
        for each in moves:
            if each.error is None:
                try:
                    step(each)
                except Exception as exc:
                    each.error = each.told(exc)
    return [each.error for each in moves]


def move_aside(source: Path, destination: Path) -> Path:
    """Bring ``source`` beside ``destination``, where something is in the way of it; says where."""
    free = free_name_beside(destination)
    move(source, free)
    return free


def free_name_beside(destination: Path) -> Path:
    """A name of ours beside ``destination`` that nothing has: ``model.pkl.ray_s3``, ``….ray_s3-1``, …"""
    names = (f"{destination.name}.ray_s3{f'-{n}' if n else ''}" for n in itertools.count())
    return next(path for name in names if not os.path.lexists(path := destination.with_name(name)))


def copy(source: Path, destination: Path) -> dict[str, Stamp]:
    """Copy a file, or a directory's files, for a job that may write to them; by reflink where that can be.

    What a snapshot of a directory leaves out is left out. Returns the copies' stamps by path. Raises OSError; then
    no file of ours is left there.
    """
    found = taken_from(source)
    files = dict(found.files)
    planned = plan(destination, [Row(relpath, "") for relpath in files], found.extras)
    planned.make_folders()
    copies = {target.path: files[target.row.relpath] for target in planned.targets}
    made: list[str] = []
    try:
        for place, path in copies.items():
            copy_file(path, place, writable=True)
            made.append(place)
        planned.make_links()
    except OSError:
        for place in made:
            with contextlib.suppress(OSError):
                os.unlink(place)
        raise
    return {os.path.realpath(place): Stamp.of(os.stat(place)) for place in copies}


class _Move:
    """One source on its way to its destination."""

    def __init__(self, source: Path, destination: Path, untouched: Mapping[str, Stamp]) -> None:
        self.error: Exception | None = None
        self._source, self._destination, self._untouched = source, destination, untouched
        # what the job reached through a link of its own making is not its own, and stays where it is
        self._top = "" if source.is_symlink() else os.path.realpath(source)
        self._own: list[tuple[str, Target]] = []
        self._linked: list[tuple[str, Target]] = []
        self._came = 0
        self._plan: Plan | None = None

    def prepare(self) -> None:
        found = taken_from(self._source)
        files = {relpath: path for relpath, path in found.files if not self._is_untouched(path)}
        if not files and found.files and not found.files[0][0]:
            return  # a file that has not been touched
        self._plan = plan(self._destination, [Row(relpath, "") for relpath in files], found.extras)
        for target in self._plan.targets:
            path = files[target.row.relpath]
            (self._own if self._is_own(path) else self._linked).append((path, target))

    def copy_linked(self) -> None:
        if self._plan is None:
            return
        self._plan.make_folders()
        clear_stale({os.path.dirname(target.path) for target in self._plan.targets} - set(self._plan.folders))
        for path, target in self._linked:
            _copy_into_place(path, target)
            self._came += 1

    def rename(self) -> None:
        for path, target in self._own:
            _move_file(path, target)
            self._came += 1

    def link(self) -> None:
        if self._plan is not None:
            self._plan.make_links()

    def told(self, error: Exception) -> Exception:
        """The error, with how far the move has come."""
        if self._came:
            files = len(self._own) + len(self._linked)
            error.add_note(f"it is incomplete, with {self._came} of its {files} files")
        return error

    def _is_own(self, path: str) -> bool:
        below = path == self._top or path.startswith(os.path.join(self._top, ""))
        return bool(self._top) and below and not os.path.islink(path)

    def _is_untouched(self, path: str) -> bool:
        stamp = self._untouched.get(path)
        return stamp is not None and stamp == Stamp.of(os.stat(path))


def _move_file(path: str, target: Target) -> None:
    if _is_right(path, target):
        return
    _close(path, target)
    try:
        os.rename(path, target.path)
    except OSError as exc:
        if exc.errno not in (errno.EXDEV, errno.EPERM):
            raise
        _copy_into_place(path, target)


def _copy_into_place(path: str, target: Target) -> None:
    if _is_right(path, target):
        return
    temporary = beside(target.path)
    try:
        copy_file(path, temporary)
        _close(temporary, target)
        os.replace(temporary, target.path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _close(path: str, target: Target) -> None:
    """A file that takes another one's place is no more open than that was, as where a program writes into it."""
    if target.stamp is not None and (bits := closed_bits(os.stat(target.path).st_mode)):
        close(path, bits)


def _is_right(path: str, target: Target) -> bool:
    """Whether a link is there whose bytes are right already: it stays a link."""
    is_link = target.stamp is not None and os.path.islink(target.path)
    return is_link and filecmp.cmp(path, target.path, shallow=False)
