"""What a call by @ray_decorator costs beyond Ray's own, on a warm local Ray.

    python tests/benchmarks/calls.py [rounds]

Calls the same function, which does nothing, in turns: as a bare ``ray.get(f.remote())``, decorated, and
decorated with an unchanged dep of 5,000 files. Prints the medians; exits with 1 where a limit is missed.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

FILES, SIZE = 5_000, 10_000
LIMITS_MS = {"decorated": 20.0, "decorated, an unchanged dep of 5,000 files": 300.0}


def nothing(path: str | None = None) -> int:
    return 0


def write_files(directory: Path) -> None:
    numbers = random.Random(0)
    for index in range(FILES):
        file = directory / f"{index % 50:02}" / f"{index:05}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(numbers.randbytes(SIZE))


def milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


def main(rounds: int) -> bool:
    import ray

    from ray_decorator import ray_decorator

    with tempfile.TemporaryDirectory() as root:
        directory = Path(root) / "files"
        write_files(directory)
        os.environ |= {"XDG_CACHE_HOME": f"{root}/home", "RAY_S3_NODE_DIR": f"{root}/node"}
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0"}
        ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR")
        bare = ray.remote(max_retries=0)(nothing)
        decorated = ray_decorator()(nothing)
        with_dep = ray_decorator(deps=["path"])(nothing)
        calls: dict[str, Callable[[], object]] = {
            "ray.get(f.remote())": lambda: ray.get(bare.remote()),
            "decorated": decorated,
            "decorated, an unchanged dep of 5,000 files": lambda: with_dep(str(directory)),
        }
        first = milliseconds(calls["decorated, an unchanged dep of 5,000 files"])
        for call in calls.values():  # warm
            call()
            call()
        spent: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                spent[name].append(milliseconds(call))
        ray.shutdown()
    return report(spent, first)


def report(spent: dict[str, list[float]], first: float) -> bool:
    medians = {name: statistics.median(times) for name, times in spent.items()}
    floor = medians["ray.get(f.remote())"]
    met = True
    print(f"{'':44} {'median':>9} {'over bare':>10} {'limit':>8}")
    for name, median in medians.items():
        limit = LIMITS_MS.get(name)
        met &= limit is None or median - floor < limit
        print(f"{name:44} {median:6.1f} ms {median - floor:7.1f} ms {f'{limit:.0f} ms' if limit else '':>8}")
    print(f"The very first call, which uploads the dep, took {first:.0f} ms.")
    return met


if __name__ == "__main__":
    sys.exit(0 if main(int(sys.argv[1]) if len(sys.argv) > 1 else 30) else 1)
