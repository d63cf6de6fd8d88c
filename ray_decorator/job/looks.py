"""Which files of a running job are whole: closed, and unchanged between two looks.

Of outs that a job also reads, files are looked at again and again. What was seen is kept in the attempt's directory:
a process that was killed in the middle of a write leaves a file that nobody has open, and that looks as good as any.

    .mark      touched when the job starts, and at each look: its ctime tells, by the same clock, what changed since
    .looks     what the last look saw, as JSON; its name is another one until it is written
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..content.look import look
from ..core.errors import InputError
from .writers import has_writer

log = logging.getLogger(__name__)

_MARK, _LOOKS = ".mark", ".looks"
_PAUSE = 1.0  # seconds between two looks
_SHARE = 20  # a look takes at most so little of a job's time: one part of it
_CLOCK_TICK = 0.02  # seconds; a file system's clock ticks more often
_LAST_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a job's files; times are ctimes, in nanoseconds.

    What changed after ``started`` is the job's. What changed after ``settled`` may be half written; so may what the
    last look found ``open`` for writing (absolute paths).
    """

    started: int
    settled: int
    open: frozenset[str] = frozenset()

    def is_changed(self, status: os.stat_result) -> bool:
        """Whether the job may have written the file."""
        return status.st_ctime_ns >= self.started

    def is_whole(self, path: str, status: os.stat_result) -> bool:
        """Whether the file was closed, and unchanged between two looks."""
        return not self.is_changed(status) or (status.st_ctime_ns < self.settled and path not in self.open)


def recorded(root: Path) -> Seen | None:
    """What was seen in the attempt's directory ``root``; None where the job had not started."""
    try:
        given = json.loads((root / _LOOKS).read_bytes())
    except FileNotFoundError:
        return None
    return Seen(given["started"], given["settled"], frozenset(given["open"]))


class Looks:
    """Looks at the files at ``paths`` in a thread, for as long as the block lasts, from the moment the job starts."""

    def __init__(self, root: Path, paths: Sequence[Path]) -> None:
        self._root, self._paths = root, [os.path.realpath(path) for path in paths]
        if self._paths:
            time.sleep(_CLOCK_TICK)  # what was put down for the job is older than the mark
        started = self._marked()
        self._seen, self._last = Seen(started, started), started
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ray-s3-looks", daemon=True)
        self._record()

    def __enter__(self) -> Looks:
        if self._paths:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._paths:
            self._thread.join()

    def last(self) -> Seen:
        """What is known once the job has ended, its process with it or not; for after the block."""
        if any(self._seen.is_changed(status) for _, status in self._files()):
            for pause in (_CLOCK_TICK, _LAST_PAUSE):
                time.sleep(pause)
                self._look()
        return self._seen

    def _run(self) -> None:
        pause = _PAUSE
        while not self._end.wait(pause):
            began = time.monotonic()
            self._look()
            pause = max(_PAUSE, _SHARE * (time.monotonic() - began))

    def _look(self) -> None:
        try:
            self._look_at_all()
        except OSError as exc:  # the disk is full, say: what changed since is not known to be whole
            log.debug("could not look at what the job writes: %s", exc)

    def _look_at_all(self) -> None:
        now = self._marked()
        writing = {path for path, status in self._files() if self._seen.is_changed(status) and _is_open(path)}
        self._seen, self._last = replace(self._seen, settled=self._last, open=frozenset(writing)), now
        self._record()

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        return files_at(*self._paths)

    def _marked(self) -> int:
        mark = self._root / _MARK
        mark.touch()
        return mark.stat().st_ctime_ns

    def _record(self) -> None:
        new = self._root / f"{_LOOKS}.new"
        new.write_text(json.dumps({**asdict(self._seen), "open": sorted(self._seen.open)}))
        os.replace(new, self._root / _LOOKS)


def _is_open(path: str) -> bool:
    try:
        return has_writer(os.path.realpath(path))
    except OSError:  # it cannot be told
        return True


def files_at(*paths: str | Path) -> Iterator[tuple[str, os.stat_result]]:
    """The files that outs at these paths have, each with its stat; none where there is no file or directory."""
    for path in paths:
        try:
            found = look(os.path.realpath(path), Path(path)).found
        except InputError:  # there is nothing, or no file
            continue
        for _, file in found.files:
            try:
                yield file, os.stat(file)
            except OSError:  # gone meanwhile
                continue
