"""A sweep of many small jobs: our launcher beside hydra-joblib-launcher. Whole processes, with nothing configured.

    pip install hydra-joblib-launcher && python tests/benchmarks/jobs.py [--rounds 3] [--jobs 300]
        [--python BEFORE --python AFTER]

Once the jobs do nothing; once all read one dep of 5,000 files, and each writes an out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import programs

APP = """
from pathlib import Path

import hydra


@hydra.main(version_base=None, config_path=None)
def main(cfg):
    if "data" in cfg:
        Path(cfg.out).parent.mkdir(exist_ok=True)
        Path(cfg.out).write_text(str(len(list(Path(cfg.data).iterdir()))))
    return 0


main()
"""
OURS = ["hydra/launcher=ray_s3"]
JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
CARRIED = ["hydra.launcher.deps=[data]", "hydra.launcher.outs=[out]"]
LIMITS = {"nothing, time / joblib's": 0.6, "dep and outs, time / joblib's": 0.7}


class Sweeps:
    def __init__(self, root: Path, jobs: int) -> None:
        self._root, self._jobs = root, jobs
        self._files = programs.make_files(root / "files")
        (root / "app.py").write_text(APP)

    def run(self, python: Path, launcher: list[str], jobs: int = 0, *, data: bool = False) -> programs.Ran:
        swept = ",".join(map(str, range(1, (jobs or self._jobs) + 1)))
        data_keys = [f"+data={self._files}", f"+out={self._root}/outs/${{x}}.txt"] if data else []
        carried = CARRIED if data and launcher is OURS else []
        command = [python, "app.py", "-m", *launcher, *carried, *data_keys, f"+x={swept}"]
        ran = programs.run([*command, "hydra.sweep.dir=sweep"], self._root, programs.environment(self._root))
        written = list((self._root / "outs").glob("*.txt"))
        assert len(written) == (jobs or self._jobs) * data, f"{len(written)} outs"
        for path in written:
            path.unlink()
        return ran


def main() -> int:
    parser = programs.parser(__doc__, rounds=3)
    parser.add_argument("--jobs", type=int, default=300)
    options = parser.parse_args()
    pythons = programs.pythons(options)
    results = programs.Results(pythons)
    with programs.directory() as root:
        sweeps = Sweeps(root, options.jobs)
        sweeps.run(pythons[-1], JOBLIB, 2)
        for python in pythons:
            sweeps.run(python, OURS, 2)
        for number in range(options.rounds):
            for name, data in (("nothing", False), ("dep and outs", True)):
                joblib = sweeps.run(pythons[-1], JOBLIB, data=data).seconds
                results.add(f"{name}, s", "joblib", joblib)
                for python in programs.in_turns(pythons, number):
                    ran = sweeps.run(python, OURS, data=data)
                    print(f"round {number}: {name}: {programs.label(python)} {ran.seconds:.1f} s", flush=True)
                    results.add(f"{name}, s", programs.label(python), ran.seconds)
                    results.add(f"{name}, time / joblib's", programs.label(python), ran.seconds / joblib)
                    results.add(f"{name}, driver's peak memory, MiB", programs.label(python), ran.peak_mib)
        for python in pythons:
            peak = sweeps.run(python, OURS, 30).peak_mib
            results.add("30 jobs of nothing, driver's peak memory, MiB", programs.label(python), peak)
    return results.show(LIMITS)


if __name__ == "__main__":
    sys.exit(main())
