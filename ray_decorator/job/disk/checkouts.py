"""Directories that jobs have read on a node, kept as they stand for the next job that reads the same.

    <root>/<content>/<fingerprint> a checkout that no job has now, under the fingerprint of what it was when made

To put thousands of files down takes longer than many a job. A job takes a checkout by a rename, so it has
it alone, and looks whether it is still what it was: one stat per file. A checkout that a job has written
to no longer matches its fingerprint, and is thrown away. Where root could write unseen, none is kept (writers.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ...content.looking.fingerprint import fingerprint
from ...core.values.contents import Content
from .writers import is_written_to, may_go_unseen

_WORTH_IT = 100  # files; fewer are put down anew as fast,
_WORTH_BYTES = 64 * 1024 * 1024  # unless they are as large as this
_KEPT_FOR = 3600.0  # seconds since a job last had it
_KEPT = os.cpu_count() or 1  # of one content: one is made only where all others are in use
_TICK = 0.02  # seconds; stamps of the usual local file systems are no coarser


class Checkouts:
    """The idle checkouts in the directory ``root``, on the file system that jobs use.

    Any number of processes may use it at once.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def take(self, content: Content, destination: Path) -> str | None:
        """Move one to ``destination``, which must not exist; returns its fingerprint, None if there is none."""
        if not _is_worth_it(content) or may_go_unseen(str(destination.parent)):
            return None
        for idle in self._idle(content):
            with contextlib.suppress(OSError):  # another job was faster
                os.rename(idle, destination)
                if not is_written_to(str(destination)) and fingerprint(str(destination)) == idle.name:
                    return idle.name
                # out of the way, and gone with the job: it may resist, where a job took away permissions
                os.rename(destination, destination.with_name(f".spoilt-{idle.name}"))
        return None

    def made(self, new: Sequence[tuple[Content, Path]]) -> list[tuple[Content, Path, str]]:
        """Of checkouts that were just made and no job has seen: those worth keeping, with their fingerprints."""
        if any(may_go_unseen(str(path.parent)) for _, path in new):
            return []
        kept = [(content, path, fingerprint(str(path))) for content, path in new if _is_worth_it(content)]
        if kept:
            time.sleep(_TICK)  # whatever a job does to them now shows in a stamp
        return kept

    def give(self, content: Content, path: Path, sealed: str) -> None:
        """Keep the checkout at ``path`` for others. It may have been changed: who takes it looks."""
        folder = self._folder(content)
        with contextlib.suppress(OSError):  # it is gone, or the disk is full: the next job makes its own
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if len(self._idle(content)) < _KEPT:
                os.rename(path, folder / sealed)
                os.utime(folder)
        self._clear()

    def _folder(self, content: Content) -> Path:
        # the same bytes with other executables, links, … are another checkout
        beyond = repr((content.executables, content.extras)).encode()
        marks = hashlib.md5(beyond, usedforsecurity=False).hexdigest()[:8]
        return self._root / f"{content.digest}.{marks}"

    def _idle(self, content: Content) -> list[Path]:
        try:
            return list(self._folder(content).iterdir())
        except FileNotFoundError:
            return []

    def _clear(self) -> None:
        with contextlib.suppress(OSError):  # another process clears as well
            for folder in self._root.iterdir():
                if time.time() - folder.stat().st_mtime > _KEPT_FOR:
                    gone = Path(tempfile.mkdtemp(prefix=".gone-", dir=self._root))
                    os.rename(folder, gone / "folder")
                    shutil.rmtree(gone)


def _is_worth_it(content: Content) -> bool:
    return content.is_tree and (content.files >= _WORTH_IT or content.size >= _WORTH_BYTES)
