"""Many small pieces of work in a few threads, with bounded memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

HANDS = threading.Semaphore(max(2, os.cpu_count() or 1))
"""To be held for a file's own system calls, of which each gives the interpreter's lock away for a moment.

Requests spend their time waiting, so many threads make them. Where more of these than there are cores come
to the disk at once, they do little but take that lock from one another.
"""


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
