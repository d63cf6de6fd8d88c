"""Many small pieces of work in a few threads, with bounded memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")

_PAUSE = 0.005  # seconds
_WRITERS = min(2, os.cpu_count() or 1)
_WAITS = 8  # times as long as it works; one that others keep from a processor waits some three times


class Pace:
    """Learns by doing whether work waits, for a disk behind a network, say, or uses a processor."""

    def __init__(self) -> None:
        self._wall = self._busy = 0.0

    @property
    def waits(self) -> bool:
        return self._wall > _WAITS * self._busy

    def do(self, work: Callable[[T], object], item: T) -> None:
        """Do the work, and see how long it took."""
        began, busy_before = time.perf_counter(), time.thread_time()
        try:
            work(item)
        finally:
            self._wall += time.perf_counter() - began
            self._busy += time.thread_time() - busy_before


def each(work: Callable[[T], object], items: Sequence[T], threads: int) -> None:
    """Call ``work`` for every item, from up to so many threads; the first error stops all, and is raised.

    No queue and no future an item: a hundred thousand of them cost what the work costs.
    """
    if len(items) < 2 or threads < 2:
        for item in items:
            work(item)
        return
    source, lock = iter(items), threading.Lock()
    errors: list[BaseException] = []

    def loop() -> None:
        while not errors:
            with lock:
                item = next(source, None)
            if item is None:
                return
            try:
                work(item)
            except BaseException as exc:
                errors.append(exc)

    crew = [threading.Thread(target=loop, daemon=True) for _ in range(min(threads, len(items)))]
    for thread in crew:
        thread.start()
    try:
        for thread in crew:
            thread.join()
    except BaseException as exc:  # Ctrl-C: each thread stops after the item it is at
        errors.append(exc)
        raise
    if errors:
        raise errors[0]


class Writers(Generic[T]):
    """One or two threads that do the work that others submit, so that they can go on waiting for a network.

    Made for a file's system calls: they are short, and each gives the interpreter's lock away. Dozens of
    threads that come to the disk at once do little but take that lock, and the file system's, from one
    another. Two, since to make a file takes up to a millisecond of the kernel's time where a disk has been in use
    for long. At most ``most`` items wait. Where the work itself is waiting, a thread that finds so many does
    its own.
    """

    def __init__(self, work: Callable[[T], object], most: int, threads: int = _WRITERS) -> None:
        self._work, self._most = work, most
        self._queue: SimpleQueue[tuple[T] | None] = SimpleQueue()
        self._pace = Pace()
        self._error: BaseException | None = None
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def submit(self, item: T) -> None:
        """Have the work done. Raises what it raised for an earlier item."""
        while self._queue.qsize() >= self._most and self._error is None:
            if self._pace.waits:
                self._work(item)
                return
            time.sleep(_PAUSE)
        if self._error is not None:
            raise self._error
        self._queue.put((item,))

    def __enter__(self) -> Writers[T]:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:  # nobody wants the rest
            self._error = self._error or error
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        if error is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._pace.do(self._work, entry[0])
                except BaseException as exc:  # raised again in a thread that is listened to
                    self._error = self._error or exc


class Budget:
    """So many bytes of memory to share among threads."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until ``size`` bytes are free, and hold them. More than all there is counts as all.

        Less than a thousandth is not counted: asking would cost more than it saves.
        """
        size = min(size, self._size)
        if size * 1000 < self._size:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()
