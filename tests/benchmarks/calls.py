"""What a call by @ray_decorator costs beyond Ray's own, on a warm local Ray.

    python tests/benchmarks/calls.py [--rounds 3] [--calls 30] [--submits 200] [--python BEFORE --python AFTER]

In each round a process calls the same function, which does nothing, in turns: as a bare ``ray.get(f.remote())``,
decorated, and decorated with an unchanged dep of 5,000 files. Another one submits it many times.
"""

from __future__ import annotations

import json
import sys

import programs

CALLS = """
import json, statistics, sys, time

import ray
from ray_decorator import ray_decorator

def nothing(path=None):
    return 0

def milliseconds(call):
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3

if __name__ == "__main__":
    files, count = sys.argv[1], int(sys.argv[2])
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR")
    bare = ray.remote(max_retries=0)(nothing)
    decorated, with_dep = ray_decorator()(nothing), ray_decorator(deps=["path"])(nothing)
    calls = {
        "bare": lambda: ray.get(bare.remote()),
        "decorated": decorated,
        "with dep": lambda: with_dep(files),
    }
    first = milliseconds(calls["with dep"])
    for call in calls.values():  # warm
        call(), call()
    spent = {name: [] for name in calls}
    for _ in range(count):
        for name, call in calls.items():
            spent[name].append(milliseconds(call))
    print(json.dumps({"first": first, **{name: statistics.median(times) for name, times in spent.items()}}))
"""
SUBMITS = """
import json, sys, time
from pathlib import Path

import ray
from ray_decorator import ray_decorator

def nothing():
    return 0

def memory(name):
    return int(Path("/proc/self/status").read_text().partition(name + ":")[2].split()[0]) / 1024

if __name__ == "__main__":
    count = int(sys.argv[1])
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR")
    bare, decorated = ray.remote(max_retries=0)(nothing), ray_decorator()(nothing)
    decorated(), decorated.submit().result()
    started = time.perf_counter()
    ray.get([bare.remote() for _ in range(count)])
    bare_seconds = time.perf_counter() - started
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before, started = memory("VmRSS"), time.perf_counter()
    futures = [decorated.submit() for _ in range(count)]
    returned = time.perf_counter() - started
    assert [future.result() for future in futures] == [0] * count
    seconds = time.perf_counter() - started
    told = {"bare": bare_seconds, "returned": returned, "seconds": seconds, "mib": memory("VmHWM") - before}
    print(json.dumps(told))
"""
LIMITS = {"decorated, over bare, ms": 15.0, "with a dep of 5,000 files, over bare, ms": 15.0}


def last_line(output: str) -> dict[str, float]:
    told: dict[str, float] = json.loads(output.strip().splitlines()[-1])
    return told


def main() -> int:
    parser = programs.parser(__doc__, rounds=3)
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--submits", type=int, default=200)
    options = parser.parse_args()
    pythons = programs.pythons(options)
    results = programs.Results(pythons)
    with programs.directory() as root:
        files = programs.make_files(root / "files")
        for name, text in (("call.py", CALLS), ("submit.py", SUBMITS)):
            (root / name).write_text(text)
        for python in pythons:
            programs.run([python, "call.py", files, "1"], root, programs.environment(root))
        for number in range(options.rounds):
            for python in programs.in_turns(pythons, number):
                whose = programs.label(python)
                arguments = [python, "call.py", files, str(options.calls)]
                took = last_line(programs.run(arguments, root, programs.environment(root)).output)
                results.add("ray.get(f.remote()), ms", whose, took["bare"])
                results.add("decorated, over bare, ms", whose, took["decorated"] - took["bare"])
                results.add(
                    "with a dep of 5,000 files, over bare, ms", whose, took["with dep"] - took["bare"]
                )
                results.add("the very first call, with the dep, ms", whose, took["first"])
                arguments = [python, "submit.py", str(options.submits)]
                took = last_line(programs.run(arguments, root, programs.environment(root)).output)
                results.add(f"{options.submits} bare tasks, s", whose, took["bare"])
                results.add(f"{options.submits} submits, s", whose, took["seconds"])
                results.add("until all were submitted, s", whose, took["returned"])
                results.add("the driver's memory for them, MiB", whose, took["mib"])
                print(f"round {number}: {whose} is done", flush=True)
    return results.show(LIMITS)


if __name__ == "__main__":
    sys.exit(main())
