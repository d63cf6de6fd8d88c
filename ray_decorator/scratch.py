"""Each attempt of a job has a directory of its own on its node, and leaves none behind.

    <node root>/jobs/<job id>/attempt-…/       .lock, deps/, outs/
    <node root>/cache/, idle/                  what is kept for other jobs (nodecache.py, checkouts.py)

What a crashed attempt left stays for a while, for the driver to ask for.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from .checkouts import Checkouts
from .model import Content
from .nodecache import NodeCache
from .places import node_root
from .store import Store

_ABANDONED_AFTER = 3600.0  # seconds; long enough for the driver to rescue what a crashed job left


class Scratch:
    """One attempt's own directory; its lock tells the living from the abandoned."""

    def __init__(self, path: Path, lock: TextIO) -> None:
        self.path = path
        self.kept = False
        self._lock = lock
        self._checkouts = Checkouts(node_root() / "idle")
        self._borrowed: list[tuple[Content, Path, str]] = []

    def keep(self) -> None:
        """Leave it behind, for the user to look into."""
        self.kept = True

    def borrow(self, content: Content, path: Path, cache: NodeCache, store: Store) -> int:
        """Put content down at ``path`` for reading: an idle checkout if there is one, else a new one."""
        received, sealed = 0, self._checkouts.take(content, path)
        if sealed is None:
            received = cache.checkout(content, path, store, writable=False)
            sealed = self._checkouts.made(content, path)
        if sealed is not None:
            self._borrowed.append((content, path, sealed))
        return received

    def close(self) -> None:
        """Hand on what was borrowed, and remove the rest."""
        if not self.kept:
            for content, path, sealed in self._borrowed:
                self._checkouts.give(content, path, sealed)
            shutil.rmtree(self.path, ignore_errors=True)
            for lock in _locks(self.path.parent.name):  # of attempts that crashed before
                _remove_unless_alive(lock)
            with contextlib.suppress(OSError):  # another attempt of the same job is still there
                self.path.parent.rmdir()
        self._lock.close()


@contextlib.contextmanager
def open_scratch(job_id: str) -> Iterator[Scratch]:
    """A new attempt's directory, for as long as the block lasts."""
    _clear_abandoned()
    root = job_root(job_id)
    root.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="attempt-", dir=root))
    lock = open(path / ".lock", "w")  # noqa: SIM115 (held for as long as the attempt lives)
    fcntl.flock(lock, fcntl.LOCK_EX)
    scratch = Scratch(path, lock)
    try:
        yield scratch
    finally:
        scratch.close()


def job_root(job_id: str) -> Path:
    """What holds all attempts of a job on this node."""
    return node_root() / "jobs" / job_id


def attempts(job_id: str) -> list[Path]:
    """The attempts of a job that are here, running or crashed."""
    root = job_root(job_id)
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []


def _clear_abandoned() -> None:
    """What crashed jobs left, once it is too old for the driver to ask for it."""
    for lock in _locks("*"):
        with contextlib.suppress(OSError):  # gone while we looked
            if time.time() - lock.stat().st_mtime >= _ABANDONED_AFTER:
                _remove_unless_alive(lock)


def _locks(job_id: str) -> list[Path]:
    # not Path.glob, which fails where a directory vanishes while it looks: other jobs come and go
    jobs = glob.escape(str(node_root() / "jobs"))
    return [Path(name) for name in glob.glob(os.path.join(jobs, job_id, "attempt-*", ".lock"))]


def _remove_unless_alive(lock: Path) -> None:
    with contextlib.suppress(OSError), open(lock) as held:  # a living attempt holds its lock
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(lock.parent, ignore_errors=True)
