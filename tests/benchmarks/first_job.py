"""What a dep of 5,000 files adds to a user's first job, with nothing configured. Whole processes.

python tests/benchmarks/first_job.py [--rounds 5] [--python BEFORE --python AFTER]
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
    assert sum(1 for path in Path(cfg.data).rglob("*.bin")) == cfg.count


main()
"""
FULL, EMPTY, ADDED = "with 5,000 files as a dep, s", "with an empty dep, s", "what the files add, s"
LIMITS = {ADDED: 0.5}


def first_job(python: Path, root: Path, data: Path, count: int) -> float:
    command = [
        python,
        "app.py",
        "hydra/launcher=ray_s3",
        "hydra.launcher.deps=[data]",
        "hydra.sweep.dir=sweep",
    ]
    return programs.run(
        [*command, f"+data={data}", f"+count={count}"], root, programs.environment(root)
    ).seconds


def main() -> int:
    options = programs.parser(__doc__, rounds=5).parse_args()
    pythons = programs.pythons(options)
    results = programs.Results(pythons)
    with programs.directory() as root:
        (root / "app.py").write_text(APP)
        files = programs.make_files(root / "files")
        empty = programs.make_files(root / "empty", 0)
        for python in pythons:
            first_job(python, root, empty, 0)
        for number in range(options.rounds):
            for python in programs.in_turns(pythons, number):
                without = first_job(python, root, empty, 0)
                full = first_job(python, root, files, programs.FILES)
                for what, value in ((EMPTY, without), (FULL, full), (ADDED, full - without)):
                    results.add(what, programs.label(python), value)
                print(f"round {number}: {programs.label(python)} {full - without:.2f} s", flush=True)
    return results.show(LIMITS)


if __name__ == "__main__":
    sys.exit(main())
