"""Each attempt of a job has a directory of its own on its node, and leaves none behind.

    <node root>/jobs/<job id>/attempt-…/       .lock, deps/, outs/
    <node root>/kept/<job id>-attempt-…/       deps/, outs/, for the user: nothing here ever removes it
    <node root>/cache/, idle/                  what is kept for other jobs (cache.py, checkouts.py)

The lock is held for as long as the attempt lives. What a crashed one left stays for a while, for the driver
to ask for; then what it has written is kept. When it crashed nobody knows: the time is counted from when another job
first finds the lock free.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ...core.errors import InputError
from ...core.machine.directories import node_directory
from ...core.values.contents import Content
from .checkouts import Checkouts
from .looks import recorded, stamps_at
from .room import tidy, with_room

if TYPE_CHECKING:  # what looks after nodes has no package but Ray's
    from ...store.store import Store
    from .cache import NodeCache

_ABANDONED_AFTER = 3600.0  # seconds; long enough for the driver to rescue what a crashed job left
_ENDING_SECONDS = 10.0
_TICK = 0.05
_LOCK = ".lock"
_CODE = "code-"  # so the ids of a runner's scratch begin (runner.py), which nobody rescues


class Scratch:
    """One attempt's own directory, ``path``; its lock tells the living from the abandoned."""

    def __init__(self, path: Path, lock: TextIO) -> None:
        self.path = path
        self.kept = False
        self._lock = lock
        self._checkouts = Checkouts(node_directory("idle"))
        self._borrowed: list[tuple[Content, Path, str]] = []

    def keep(self) -> Path:
        """Leave it behind, for the user to look into. It moves, and ``path`` with it; where it is now."""
        self.kept = True
        self.path = keep(self.path)
        return self.path

    def leave(self) -> None:
        """Leave it behind, for a rescue."""
        self.kept = True

    def borrow(self, wanted: Sequence[tuple[Content, Path]], cache: NodeCache, store: Store) -> int:
        """Put contents down for reading: idle checkouts where there are any, else new ones. The bytes fetched."""
        from .cache import Checkout

        taken = [(content, path, self._checkouts.take(content, path)) for content, path in wanted]
        self._borrowed += [(content, path, mark) for content, path, mark in taken if mark is not None]
        new = [(content, path) for content, path, mark in taken if mark is None]
        received = cache.checkout([Checkout(*each) for each in new], store) if new else 0
        self._borrowed += self._checkouts.made(new)
        return received

    def close(self) -> None:
        """Hand on what was borrowed, and remove the rest."""
        if not self.kept:
            for content, path, sealed in self._borrowed:
                self._checkouts.give(content, path, sealed)
            shutil.rmtree(self.path, ignore_errors=True)
            for lock in _locks(self.path.parent.name):  # of attempts that crashed before
                _clear(lock, 0.0, for_good=True)
            with contextlib.suppress(OSError):  # another attempt of the same job is still there
                self.path.parent.rmdir()
        self._lock.close()
        with contextlib.suppress(OSError, InputError):
            tidy()


@contextlib.contextmanager
def open_scratch(job_id: str) -> Iterator[Scratch]:
    """A new attempt's directory, for as long as the block lasts. Raises NodeDiskError where the disk is full."""
    for lock in _locks("*"):
        _clear(lock, _ABANDONED_AFTER)
    scratch = with_room(lambda: _new_scratch(job_root(job_id)))
    try:
        yield scratch
    finally:
        scratch.close()


def dead_for() -> dict[Path, float | None]:
    """All attempts on this node, and for how many seconds each is known to be dead; None for one that lives."""
    return {lock.parent: _dead_seconds(lock) for lock in _locks("*")}


def has_written(attempt: Path) -> bool:
    """Whether an attempt has outs that are on this node alone."""
    seen = recorded(attempt)
    return seen is not None and any(seen.is_changed(stamp.ctime) for _, stamp in stamps_at(attempt / "outs"))


def clear_dead(seconds: float) -> None:
    """Remove the attempts that are known to be dead for so many seconds; what they have written is kept."""
    for lock in _locks("*"):
        _clear(lock, seconds)


def job_root(job_id: str) -> Path:
    """What holds all attempts of a job on this node."""
    return node_directory("jobs") / job_id


def attempts(job_id: str) -> list[Path]:
    """The attempts of a job that are here, running or crashed."""
    root = job_root(job_id)
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []


@contextlib.contextmanager
def dead_attempt(job_id: str) -> Iterator[Path | None]:
    """The newest attempt of a job here, if it runs no more; nobody else clears it within the block.

    One that is ending is waited for.
    """
    found = sorted(attempts(job_id), key=lambda path: path.stat().st_mtime)
    with contextlib.ExitStack() as stack:
        held = False
        with contextlib.suppress(OSError):  # it has no lock yet, or was kept
            lock = stack.enter_context(open(found[-1] / _LOCK, "r+")) if found else None
            held = lock is not None and _take(lock)
        yield found[-1] if held else None


def keep(attempt: Path) -> Path:
    """Leave what is of an attempt behind, for the user to look into; where it is now."""
    job = attempt.parent
    with contextlib.suppress(OSError, InputError):  # the disk is full, say
        (attempt / _LOCK).unlink()  # without one, nobody takes it for abandoned where it is now either
        kept = node_directory("kept") / f"{job.name}-{attempt.name}"
        os.rename(attempt, kept)
        with contextlib.suppress(OSError):  # another attempt of the same job is there
            job.rmdir()
        return kept
    return attempt


def _take(lock: TextIO) -> bool:
    deadline = time.monotonic() + _ENDING_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_TICK)


def _new_scratch(root: Path) -> Scratch:
    path = _new_attempt(root)
    return Scratch(path, _locked(path))


def _new_attempt(root: Path) -> Path:
    while True:
        with contextlib.suppress(FileExistsError):
            root.mkdir()
        with contextlib.suppress(FileNotFoundError):  # it was empty, and another attempt removed it
            return Path(tempfile.mkdtemp(prefix="attempt-", dir=root))


def _locked(path: Path) -> TextIO:
    lock = open(path / f"{_LOCK}.new", "w")  # noqa: SIM115 (held for as long as the attempt lives)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.rename(lock.name, path / _LOCK)  # whoever finds it finds it held
    return lock


def _locks(job_id: str) -> list[Path]:
    # not Path.glob, which fails where a directory vanishes while it looks: other jobs come and go
    jobs = glob.escape(str(node_directory("jobs")))
    return [Path(name) for name in glob.glob(os.path.join(jobs, job_id, "attempt-*", _LOCK))]


def _clear(lock: Path, seconds: float, *, for_good: bool = False) -> None:
    """Remove an attempt that is known to be dead for so long: nobody will come any more for what it left.

    What it has written is kept, unless it is ``for_good``.
    """
    with contextlib.suppress(OSError), open(lock, "r+") as held:  # gone while we looked, or alive
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _seconds_since_found(held, lock) < seconds:
            return
        if not for_good and has_written(lock.parent):
            keep(lock.parent)
        else:
            shutil.rmtree(lock.parent, ignore_errors=True)
            lock.parent.parent.rmdir()  # unless another attempt of the same job is there


def _dead_seconds(lock: Path) -> float | None:
    with contextlib.suppress(OSError), open(lock, "r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _seconds_since_found(held, lock)
    return None


def _seconds_since_found(held: TextIO, lock: Path) -> float:
    if lock.parent.parent.name.startswith(_CODE):
        return math.inf
    status = os.fstat(held.fileno())
    if status.st_size == 0:
        # Found dead now, which the lock's mtime tells from here on. Not a file of its own: a rescue takes the
        # attempt whose directory changed last. And not a byte, for which a full disk has no room.
        held.truncate(1)
        return 0.0
    return time.time() - status.st_mtime
