"""A few threads that take work in its order, and that no process waits for when it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger(__name__)


class DaemonPool:
    """Up to ``threads`` threads, each started when there is work for it.

    concurrent.futures' pools are joined when the interpreter ends, however long their work takes.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._most, self._name = threads, name
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], object]) -> None:
        """Have the work done. It must not raise: what it raises is logged."""
        with self._lock:
            self._queue.put(work)
            if self._idle < self._queue.qsize() and len(self._threads) < self._most:
                name = f"{self._name}-{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._run, name=name, daemon=True))
                self._threads[-1].start()

    def close(self) -> None:
        """Let the threads end, after what they have been given."""
        with self._lock:
            for _ in self._threads:
                self._queue.put(None)

    def _run(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            work = self._queue.get()
            with self._lock:
                self._idle -= 1
            if work is None:
                return
            try:
                work()
            except Exception:
                log.exception("%s: a fault of this project", self._name)
