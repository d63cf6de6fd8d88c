"""Jobs on a bare cluster, beside Ray's own runtime_env: packages by ``uv``, code by ``working_dir``.

    python tests/benchmarks/cluster.py [--rounds 2] [--again 3]

In each round, both get a cluster of their own, which holds Ray and uv alone, with an empty HOME. There a
function that needs packages is called by a driver process (``first``), then by others (``again``); then
one that needs a project of 100 MB, at last with one file of it changed (``changed``). Ours has the packages
there, too, built before.

    whole   the driver process, from its start to its end
    call    from where its imports are done to its result: connecting, preparing, running
    there   from where Ray is connected to its result. Ray's working_dir goes up before that, our code after.

Seconds; the medians of ``again``, and the best of the rounds. Targets are for ``whole``, against Ray's same
turn. What Ray costs without a runtime_env is printed below: no peer, but what both are made of.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("support", "clusters"))

import cluster_bed
import far_project
import servers

FILES, FILE_BYTES = 2_000, 50_000
PACKAGES, CODE, NOTHING = "packages", "code of 100 MB", "nothing"
CONTENDERS = ["ours", "rays"]
TARGETS = {(PACKAGES, "first"): 1.0, (PACKAGES, "again"): 0.2, (CODE, "again"): 0.3}

DRIVER = """\
import json, os, sys, threading, time

def watch():
    while not getattr(sys.modules.get("ray"), "is_initialized", bool)():
        time.sleep(0.002)
    marks["connected"] = time.time()

def nothing():
    return 0

def packages():
    import hydra, obstore
    return hydra.__version__

def code():
    import tree
    return len(tree.files())

if __name__ == "__main__":
    marks = {}
    threading.Thread(target=watch, daemon=True).start()
    work = {"nothing": nothing, "packages": packages, "code": code}[sys.argv[1]]
"""
OURS = """\
    from ray_decorator import ray_decorator
    marks["imported"] = time.time()
    value = ray_decorator()(work)()
    print(json.dumps({**marks, "result": time.time(), "value": value}))
"""
RAYS = """\
    import ray
    marks["imported"] = time.time()
    ray.init(runtime_env=json.loads(sys.argv[2]), logging_level="ERROR")
    value = ray.get(ray.remote(work).remote())
    print(json.dumps({**marks, "result": time.time(), "value": value}))
"""
TREE = """\
from pathlib import Path

def files():
    return list((Path(__file__).parent / "content").rglob("*.bin"))
"""


class Times(NamedTuple):
    whole: float
    call: float
    there: float


class Driver(NamedTuple):
    """One of the two on its cluster: how its processes are started, and Ray's runtime_env by kind of work."""

    script: str
    environ: Mapping[str, str]
    runtime_envs: Mapping[str, Mapping[str, object]]

    def run(self, work: str, project: Path, expected: object) -> Times:
        command = [far_project.venv() / "bin" / "python", project / self.script, work.split()[0]]
        started = time.time()
        done = subprocess.run(
            [*command, json.dumps(self.runtime_envs.get(work))],
            cwd=project,
            env=dict(self.environ),
            capture_output=True,
            text=True,
        )
        ended = time.time()
        if done.returncode:
            raise SystemExit(
                f"{self.script} {work} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        marks = json.loads(done.stdout.splitlines()[-1])
        assert marks["value"] == expected, marks
        return Times(
            ended - started, marks["result"] - marks["imported"], marks["result"] - marks["connected"]
        )


class Table:
    """The best of the rounds, by work, turn and contender."""

    def __init__(self) -> None:
        self.best: dict[tuple[str, str, str], Times] = {}

    def add(self, work: str, turn: str, name: str, runs: list[Times]) -> None:
        times = Times(*map(statistics.median, zip(*runs, strict=True)))
        print(f"  {name}: {work}, {turn}: {_shown(times)}", flush=True)
        best = self.best.get((work, turn, name), times)
        self.best[work, turn, name] = Times(*map(min, times, best))

    def show(self) -> None:
        print(f"\n| {'whole / call / there, s':23} | {'ours':21} | {'Ray':21} | {'ours / Ray':18} | target |")
        print(f"|{'-' * 25}|{'-' * 23}|{'-' * 23}|{'-' * 20}|{'-' * 8}|")
        for work, turn in dict.fromkeys((w, t) for w, t, _ in self.best if w != NOTHING):
            ours, peer = (self.best[work, turn, name] for name in CONTENDERS)
            ratios = Times(*(mine / theirs for mine, theirs in zip(ours, peer, strict=True)))
            print(
                f"| {f'{work}, {turn}':23} | {_shown(ours):21} | {_shown(peer):21} "
                f"| {' / '.join(f'{ratio:.2f}' for ratio in ratios)} | {TARGETS.get((work, turn), ''):6} |"
            )
        print(f"Ray without a runtime_env: {_shown(self.best[NOTHING, 'again', 'rays'])}")


def one_cluster(table: Table, name: str, projects: Mapping[str, Path], again: int) -> None:
    expected: dict[str, object] = {NOTHING: 0, PACKAGES: version("hydra-core"), CODE: FILES}
    with (
        tempfile.TemporaryDirectory(prefix="cluster-") as root,
        servers.rclone(Path(root, "s3")) as server,
        cluster_bed.start(workers=1, cpus=1) as bed,
    ):
        environ = far_project.environment(bed, server, Path(root, "home"), "benchmark")
        driver = Driver(f"{name}.py", environ | {"RAY_USAGE_STATS_ENABLED": "0"}, runtime_envs(projects))
        for work in (PACKAGES, CODE) if name == "ours" else (NOTHING, PACKAGES, CODE):
            project = projects[work]
            table.add(work, "first", name, [driver.run(work, project, expected[work])])
            later = [driver.run(work, project, expected[work]) for _ in range(again)]
            table.add(work, "again", name, later)
        (projects[CODE] / "content" / "00" / "00000.bin").write_bytes(os.urandom(FILE_BYTES))
        table.add(CODE, "changed", name, [driver.run(CODE, projects[CODE], FILES)])


def runtime_envs(projects: Mapping[str, Path]) -> dict[str, Mapping[str, object]]:
    return {PACKAGES: {"uv": {"packages": packages_to_add()}}, CODE: {"working_dir": str(projects[CODE])}}


@functools.cache
def packages_to_add() -> list[str]:
    """What the driver has and the nodes lack: the packages that ours builds an environment of."""
    ask = "import pickle, sys; from ray_decorator.environment import installed; {}"
    dump = ask.format("sys.stdout.buffer.write(pickle.dumps(installed.requirements(None)))")
    requirements = subprocess.check_output([far_project.venv() / "bin" / "python", "-c", dump])
    code = (
        "import json, pickle, sys; from ray_decorator.environment import inventory; "
        "print(json.dumps(inventory.lacking(pickle.load(sys.stdin.buffer))))"
    )
    lacking = subprocess.check_output(
        [cluster_bed.bare_venv() / "bin" / "python", "-c", code],
        input=requirements,
        env=os.environ | {"PYTHONPATH": str(cluster_bed.REPO)},
    )
    pins: dict[str, str] = json.loads(lacking)
    return [f"{name}=={version}" for name, version in sorted(pins.items())]


def make_projects(directory: Path) -> dict[str, Path]:
    small, large, dice = directory / "small", directory / "large", random.Random(1)
    scripts = {"pyproject.toml": '[project]\nname = "shop"\nversion = "0.3"\n'}
    scripts |= {"ours.py": DRIVER + OURS, "rays.py": DRIVER + RAYS}
    for project in (small, large):
        far_project.write(project, {**scripts, "tree.py": TREE})
    for number in range(FILES):
        folder = large / "content" / f"{number % 50:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:05d}.bin").write_bytes(dice.randbytes(FILE_BYTES))
    return {NOTHING: small, PACKAGES: small, CODE: large}


def compile_all() -> None:
    """Nobody's first job is to compile what has been in use for long."""
    for venv in (far_project.venv(), cluster_bed.bare_venv()):
        subprocess.run(
            [venv / "bin" / "python", "-m", "compileall", "-q", "-j", "0", venv / "lib"], check=False
        )


def _shown(times: Times) -> str:
    return " / ".join(f"{seconds:5.2f}" for seconds in times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--again", type=int, default=3)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="cluster-benchmark-"))
    table = Table()
    try:
        projects = make_projects(directory)
        compile_all()
        print(f"{len(packages_to_add())} packages to add, {FILES} files of {FILE_BYTES // 1000} kB")
        for number in range(options.rounds):
            print(f"round {number}", flush=True)
            for name in CONTENDERS if number % 2 == 0 else CONTENDERS[::-1]:
                one_cluster(table, name, projects, options.again)
    finally:
        shutil.rmtree(directory)
    table.show()


if __name__ == "__main__":
    main()
