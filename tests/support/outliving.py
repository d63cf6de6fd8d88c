"""A process that is to live on where another one ends."""

from __future__ import annotations

import os
import signal
import time

from ray_decorator.job.process import processes


def outlives(kept: int, parent: int, seconds: float = 60.0) -> bool:
    """Whether ``kept`` runs once ``parent`` has ended, by itself or by Ray, which kills its children just before.

    ``kept`` is ended.
    """
    deadline = time.monotonic() + seconds
    while processes.runs(parent):
        assert time.monotonic() < deadline, f"process {parent} does not end"
        time.sleep(0.02)
    lives = processes.runs(kept)
    if lives:
        os.kill(kept, signal.SIGKILL)
    return lives
