"""One call with 400 deps and 400 outs, beside one with the same files as one dep and one out, on a warm local Ray.

    python tests/benchmarks/many_paths.py [--rounds 3] [--count 400] [--python BEFORE --python AFTER]

With a store in a named directory, and with one at an S3 server (`rclone serve s3`). Both calls transfer as many files
of as many bytes, so what one takes beyond the other is preparing the paths and bringing them home.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import programs

sys.path.append(str(Path(__file__).parents[1] / "support"))

import servers

PROGRAM = """
import json, random, sys, time
from pathlib import Path

import ray
from ray_decorator import ray_decorator

def convert(file, out):
    Path(out).write_bytes(Path(file).read_bytes()[::-1])

@ray_decorator(deps=["data.*.file"], outs=["data.*.out"])
def one_by_one(data):
    for each in data.values():
        convert(each["file"], each["out"])

@ray_decorator(deps=["source"], outs=["target"])
def as_directory(source, target):
    Path(target).mkdir(exist_ok=True)
    for path in Path(source).iterdir():
        convert(path, Path(target, path.name))

def files(directory, count):
    directory.mkdir(parents=True)
    dice = random.Random()
    paths = [directory / f"{number}.bin" for number in range(count)]
    for path in paths:
        path.write_bytes(dice.randbytes(20_000))
    return paths

def seconds(call, written, count):
    started = time.perf_counter()
    call()
    took = time.perf_counter() - started
    assert len(list(written.iterdir())) == count
    return took

def both(root, count):
    paths = files(root / "each", count)
    data = {f"k{n}": {"file": str(path), "out": str(root / "outs" / path.name)} for n, path in enumerate(paths)}
    source, target = root / "source", root / "target"
    files(source, count)
    return {
        "one": seconds(lambda: as_directory(str(source), str(target)), target, count),
        "many": seconds(lambda: one_by_one(data), root / "outs", count),
    }

if __name__ == "__main__":
    root, count = Path(sys.argv[1]), int(sys.argv[2])
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR")
    both(root / "warm", 2)
    print(json.dumps(both(root / "measured", count)))
"""
LIMITS = {f"{store}, beyond the transfers, s": 1.0 for store in ("file://", "s3://")}


def main() -> int:
    parser = programs.parser(__doc__, rounds=3)
    parser.add_argument("--count", type=int, default=400)
    options = parser.parse_args()
    pythons = programs.pythons(options)
    results = programs.Results(pythons)
    with programs.directory() as root, servers.rclone(root / "s3") as server:
        (root / "program.py").write_text(PROGRAM)
        for number in range(options.rounds):
            for python in programs.in_turns(pythons, number):
                name = f"{number}-{programs.label(python)}"
                for store, url in (
                    ("file://", (root / f"store-{name}").as_uri()),
                    ("s3://", f"s3://{servers.BUCKET}/{name}"),
                ):
                    environ = programs.environment(root, RAY_S3_BASE_PATH=url, **server.environment())
                    command = [python, "program.py", root / f"{store[:-3]}-{name}", str(options.count)]
                    output = programs.run(command, root, environ).output
                    took = json.loads(output.strip().splitlines()[-1])
                    print(f"round {number}: {programs.label(python)}, {store}: {took}", flush=True)
                    whose, beyond = programs.label(python), took["many"] - took["one"]
                    results.add(f"{store}, one dep and one out, s", whose, took["one"])
                    results.add(f"{store}, {options.count} deps and outs, s", whose, took["many"])
                    results.add(f"{store}, beyond the transfers, s", whose, beyond)
    return results.show(LIMITS)


if __name__ == "__main__":
    sys.exit(main())
