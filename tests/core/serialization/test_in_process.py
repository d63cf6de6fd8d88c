"""Locks and the like of a script, in another process; and which ones are refused as before."""

from __future__ import annotations

import contextvars
import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ray_decorator.core.errors import PicklingError
from ray_decorator.core.serialization import in_process, pickling

SCRIPT = """
import concurrent.futures, contextvars, queue, sys, threading
import library
from library import CONTEXT, EVENT
from ray_decorator.core.serialization import pickling

HELD, AGAIN, EVENT_HERE = threading.Lock(), threading.RLock(), threading.Event()
GATE, FULL, QUEUE = threading.Condition(), threading.BoundedSemaphore(2), queue.Queue(maxsize=2)
LOCAL, POOL = threading.local(), concurrent.futures.ThreadPoolExecutor(3, "mine")
USUAL, NOW, UNSET = (contextvars.ContextVar("usual", default=[1]), contextvars.ContextVar("now", default=0),
                     contextvars.ContextVar("unset"))

class Counter:
    lock = threading.Lock()

    def __init__(self):
        self.own, self.done, self.count = threading.RLock(), threading.Event(), 0

    def add(self):
        with self.lock, self.own:
            self.count += 1
            self.done.set()
        return self.count

COUNTERS = {"one": [Counter()]}

def waited():
    with GATE:
        POOL.submit(told_gate)
        return GATE.wait(30)

def told_gate():
    with GATE:
        GATE.notify_all()

def task():
    with AGAIN, AGAIN:
        free = HELD.acquire(blocking=False)
    QUEUE.put(2)
    library.EVENT.set()
    library.CONTEXT.set("the library's")
    return {
        "free": free and not HELD.acquire(blocking=False),
        "event": EVENT_HERE.is_set(),
        "semaphore": [FULL.acquire(timeout=0) for _ in range(3)],
        "queue": [QUEUE.full(), QUEUE.get(), QUEUE.get()],
        "counter": [COUNTERS["one"][0].add(), COUNTERS["one"][0].done.is_set(), Counter.lock.locked()],
        "local": [LOCAL.x, POOL.submit(hasattr, LOCAL, "x").result(30)],
        "pool": [POOL.submit(lambda: threading.current_thread().name).result(30)[:4], waited()],
        "context": [USUAL.get(), NOW.get(), NOW.name, UNSET.get("none")],
        "library": [EVENT is library.EVENT, EVENT.is_set(), CONTEXT.get()],
    }

LOCAL.x = 5
EVENT_HERE.set()
NOW.set(8)
QUEUE.put(1)
with HELD:
    sys.stdout.buffer.write(pickling.pickled(task))
"""
LIBRARY = (
    "import contextvars, threading\nEVENT, CONTEXT = threading.Event(), contextvars.ContextVar('theirs')\n"
)
THERE = "import json, pickle, sys; print(json.dumps(pickle.load(sys.stdin.buffer)()))"


def test_a_scripts_own_are_there_as_in_each_process_that_runs_it(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "library.py").write_text(LIBRARY)
    sent = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, timeout=60)
    assert sent.returncode == 0, sent.stderr
    there = subprocess.run(
        [sys.executable, "-c", THERE], cwd=tmp_path, input=sent.stdout, capture_output=True, timeout=60
    )
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout) == {
        "free": True,
        "event": True,
        "semaphore": [True, True, False],
        "queue": [True, 1, 2],
        "counter": [1, True, False],
        "local": [5, False],
        "pool": ["mine", True],
        "context": [[1], 8, "now", "none"],
        "library": [True, True, "the library's"],
    }


LOCK_HERE = threading.Lock()
VARIABLE_HERE: contextvars.ContextVar[int] = contextvars.ContextVar("here")


@pytest.mark.parametrize("value", [LOCK_HERE, VARIABLE_HERE], ids=["lock", "context variable"])
def test_what_a_module_has_is_that_modules(value: Any) -> None:
    assert type(value) in in_process.REDUCTIONS
    assert pickling.loads(pickling.pickled(value)) is value


class Client:
    """As those of S3: they hold a lock, and a key."""

    def __init__(self, lock: Any) -> None:
        self.lock, self.key = lock, "secret"


@pytest.mark.parametrize(
    "lock",
    [threading.Lock(), threading.RLock(), threading.Event(), queue.Queue(), threading.local()],
    ids=lambda value: type(value).__name__,
)
def test_others_are_refused(lock: Any) -> None:
    with pytest.raises(PicklingError, match=r"the attribute '\w+' of \w+ is a .* inside the task"):
        pickling.dumps(Client(lock), "the task")
