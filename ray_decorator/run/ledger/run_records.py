"""The record of a run in the store: what was started when, where and by whom.

It is written in the background while the run's jobs are submitted, at most every ten seconds, and once more at the
end: a driver that is killed leaves it, too.
"""

from __future__ import annotations

import getpass
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable

from ...core.errors import RayS3Error
from ...core.records.job_ids import Surroundings
from ...core.records.records import RunRecord, dump, run_key
from ...core.values.work import Work
from ...store.store import Store

log = logging.getLogger(__name__)

_FIRST_SECONDS = 1.0
_PAUSE_SECONDS = 10.0
_END_SECONDS = 5.0
_MOST_FILES = 2_000


def new_run_id() -> str:
    """The id of a run that begins now: runs sort by the time of their begin (UTC)."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:8]}"


class RunWriter:
    """Keeps the record of one run. Safe to use from several threads."""

    def __init__(self, run: str, opened: Callable[[], Store]) -> None:
        self._run, self._opened, self._began = run, opened, time.time()
        self._jobs: dict[tuple[tuple[str, ...], str], None] = {}
        self._shared: tuple[str, Surroundings] | None = None
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, work: Work, around: Surroundings, job_id: str) -> None:
        """A job of the run is started."""
        with self._lock:
            self._shared = work.app, around
            self._jobs[(work.overrides, job_id)] = None  # of a run that is resumed, some are named twice
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_on, name="ray-s3-run-record", daemon=True)
                self._thread.start()

    def end(self) -> None:
        """No job follows. Returns once the record is whole, or after five seconds."""
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)

    def _write_on(self) -> None:
        written, pause = 0, _FIRST_SECONDS
        while True:
            ends = self._wake.wait(pause)
            pause = _PAUSE_SECONDS
            with self._lock:
                record = self._record()
            if len(record.jobs) != written:
                written = len(record.jobs)
                self._write(record)
            if ends:
                return

    def _write(self, record: RunRecord) -> None:
        try:
            if (data := dump(record)) is not None:
                self._opened().put(run_key(record.id), data)
        except RayS3Error as exc:
            log.debug("the record of this run was not written: %s", exc)

    def _record(self) -> RunRecord:
        assert self._shared is not None
        app, around = self._shared
        return RunRecord(
            id=self._run,
            app=app,
            began=self._began,
            host=socket.gethostname(),
            user=_user(),
            code=around.code,
            packages=around.packages,
            jobs=tuple(self._jobs),
            files=around.files if len(around.files) <= _MOST_FILES else (),
        )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return str(os.getuid())
