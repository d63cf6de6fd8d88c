"""Directories of files for tests: made, read, and sent to a store."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.core.progress import NoProgress, Phase
from ray_decorator.store.store import Store
from ray_decorator.store.transfer import Snapshot, push, snapshot

QUIET = NoProgress()


def tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    root.mkdir(exist_ok=True)
    return root


def read(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def numbered(count: int, size: int = 1000) -> dict[str, bytes]:
    return {f"{n % 7}/{n}.bin": (b"%d," % n) * (size // 4) for n in range(count)}


def sent(path: Path, store: Store, hashes: HashCache) -> Snapshot:
    taken = snapshot(path, hashes, QUIET)
    push(taken, store, hashes, QUIET)
    return taken


def killed_process_leaves(directory: Path) -> Path:
    program = (
        "import os, sys; from ray_decorator.content.temporary import beside; path = beside(sys.argv[1]); "
        "open(path, 'w').write('half'); print(path, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(directory / "f")], stdout=subprocess.PIPE, text=True
    )
    path = Path(done.stdout.strip())
    assert path.read_text() == "half"
    return path


class Tally(NoProgress):
    """A Progress that adds up."""

    def __init__(self) -> None:
        self.expected: dict[str, list[int]] = {}
        self.done: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def expect(self, phase: Phase, items: int, size: int = 0) -> None:
        self._add(self.expected, phase, items, size)

    def advance(self, phase: Phase, items: int, size: int = 0) -> None:
        self._add(self.done, phase, items, size)

    def _add(self, sums: dict[str, list[int]], phase: Phase, items: int, size: int) -> None:
        with self._lock:
            row = sums.setdefault(phase, [0, 0])
            row[0] += items
            row[1] += size


def settle() -> None:
    """Wait until what was just written is old enough for the hash cache to keep."""
    time.sleep(0.12)
