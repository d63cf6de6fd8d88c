"""A sweep of jobs of nothing: our launcher beside hydra-joblib-launcher, start-up included.

    pip install hydra-joblib-launcher && python tests/benchmarks/jobs.py [--jobs 300] [--rounds 3]

Prints wall times, their ratio round by round, and the peak memory of our driver for 30 jobs and for all.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

APP = """
import hydra


@hydra.main(version_base=None, config_path=None)
def main(cfg):
    return 0


main()
"""

OURS = ["hydra/launcher=ray_s3"]
JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


def run(directory: Path, launcher: list[str], jobs: int) -> tuple[float, float]:
    """Wall time in s, and the peak memory of the process itself in MiB."""
    sweep = ",".join(map(str, range(1, jobs + 1)))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "app.py", "-m", *launcher, f"+x={sweep}", "hydra.sweep.dir=sweep"],
        cwd=directory,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    if status != 0:
        raise SystemExit(f"{' '.join(launcher)} ended with status {status}")
    return wall, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "app.py").write_text(APP)
        ratios = []
        for round_ in range(arguments.rounds):
            ours, peak = run(directory, OURS, arguments.jobs)
            joblib, _ = run(directory, JOBLIB, arguments.jobs)
            ratios.append(ours / joblib)
            print(f"round {round_}: ray_s3 {ours:.1f} s, joblib {joblib:.1f} s, ratio {ratios[-1]:.2f}")
        _, small = run(directory, OURS, 30)
        print(f"{arguments.jobs} jobs: median ratio {statistics.median(ratios):.2f}")
        print(f"peak memory of the driver: {small:.0f} MiB for 30 jobs, {peak:.0f} MiB for {arguments.jobs}")


if __name__ == "__main__":
    main()
