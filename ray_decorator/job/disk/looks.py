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

from ...content.hashes.hash_cache import Stamp
from ...content.looking.look import look
from ...core.errors import InputError
from .writers import has_writer

log = logging.getLogger(__name__)

_MARK, _LOOKS = ".mark", ".looks"
_PAUSE = 1.0  # seconds between two looks
_SHARE = 20  # a look takes at most so little of a job's time: one part of it
_CLOCK_TICK = 0.02  # seconds; a file system's clock ticks more often
_LAST_PAUSE = 0.1
_EVER = 2**63


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a job's files; times are ctimes, in nanoseconds.

    What changed after ``started`` is the job's. With ``resumed`` all is: it began with what an attempt before it had
    written. What changed after ``settled`` may be half written; so may what the last look found ``open`` for writing
    (absolute paths).
    """

    started: int
    settled: int
    open: frozenset[str] = frozenset()
    resumed: bool = False

    def is_changed(self, ctime: int) -> bool:
        """Whether a file with this ctime may be another one than at home."""
        return self.resumed or ctime >= self.started

    def is_whole(self, path: str, ctime: int) -> bool:
        """Whether the file was closed, and unchanged between two looks."""
        return ctime < self.started or (ctime < self.settled and path not in self.open)


def recorded(root: Path) -> Seen | None:
    """What was seen in the attempt's directory ``root``; None where the job had not started.

    By a record that cannot be read (of another version, or cut by a full disk) all is the job's, and nothing whole.
    """
    try:
        given = json.loads((root / _LOOKS).read_bytes())
        return Seen(given["started"], given["settled"], frozenset(given["open"]), given["resumed"])
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError):
        return Seen(0, 0, resumed=True)


class Looks:
    """Looks at the files at ``paths`` in a thread, for as long as the block lasts, from the moment the job starts."""

    def __init__(self, root: Path, paths: Sequence[Path], *, resumed: bool = False) -> None:
        """``resumed``: what is there now is not what is at home."""
        self._root, self._paths = root, [os.path.realpath(path) for path in paths]
        if self._paths:
            time.sleep(_CLOCK_TICK)  # what was put down for the job is older than the mark
        started = self._marked()
        self.seen, self._last = Seen(started, started, resumed=resumed), started
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
        if any(self.seen.is_changed(ctime) for _, ctime in self._files()):
            for pause in (_CLOCK_TICK, _LAST_PAUSE):
                time.sleep(pause)
                self._look()
        return self.seen

    def now(self) -> Seen:
        """As if no file were half written but those that are open now."""
        return replace(self.seen, settled=_EVER, open=frozenset(self._open()))

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
        self.seen = replace(self.seen, settled=self._last, open=frozenset(self._open()))
        self._last = now
        self._record()

    def _open(self) -> set[str]:
        changed = (path for path, ctime in self._files() if ctime >= self.seen.started)
        return {path for path in changed if _is_open(path)}

    def _files(self) -> Iterator[tuple[str, int]]:
        return ((path, stamp.ctime) for path, stamp in stamps_at(*self._paths))

    def _marked(self) -> int:
        mark = self._root / _MARK
        mark.touch()
        return mark.stat().st_ctime_ns

    def _record(self) -> None:
        new = self._root / f"{_LOOKS}.new"
        new.write_text(json.dumps({**asdict(self.seen), "open": sorted(self.seen.open)}))
        os.replace(new, self._root / _LOOKS)


def _is_open(path: str) -> bool:
    try:
        return has_writer(os.path.realpath(path))
    except OSError:  # it cannot be told
        return True


def stamps_at(*paths: str | Path) -> Iterator[tuple[str, Stamp]]:
    """The files that outs at these paths have, each with its stamp; none where there is no file or directory."""
    for path in paths:
        try:
            found = look(os.path.realpath(path), Path(path)).found
        except InputError:  # there is nothing, or no file
            continue
        yield from found.stamps.items()
