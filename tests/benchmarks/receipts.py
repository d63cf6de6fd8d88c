"""What receipts cost a sweep of 300 jobs of nothing: with them, and without, in turns. Whole processes.

    python tests/benchmarks/receipts.py [--rounds 5] [--jobs 300]

Once with nothing configured, where the driver writes them; once with a named directory, where jobs do. Beside the
whole time, the share of its CPU time is measured that the driver spends on receipts: what else runs on the machine
changes that less.
"""

from __future__ import annotations

import re
import statistics
import sys
from pathlib import Path

import programs

APP = """
import atexit, os, sys, time
import hydra
from hydra_plugins.hydra_ray_s3_launcher import _compose
from ray_decorator.run.ledger import beside, ledger, run_records

spent = []


def timed(owner, name):
    function = getattr(owner, name)

    def timing(*arguments, **options):
        began = time.thread_time()
        try:
            return function(*arguments, **options)
        finally:
            spent.append(time.thread_time() - began)

    setattr(owner, name, timing)


timed(_compose, "config_digest")
timed(_compose, "with_job")
timed(ledger, "surroundings")
timed(beside.Beside, "_take")
timed(run_records.RunWriter, "_write")
if os.environ.get("WITHOUT_RECEIPTS"):
    _compose.config_digest = lambda *arguments: ""
    ledger.Ledger.look = lambda *arguments, **options: None
    ledger.Ledger.entry = ledger.Ledger.unnamed = lambda *arguments: None


@hydra.main(version_base=None, config_path=None)
def main(cfg):
    return 0


if __name__ == "__main__":
    atexit.register(lambda: print("CPU:", sum(spent), time.process_time(), file=sys.stderr))
    main()
"""
KINDS = ("nothing configured", "a named store")
TIME, SHARE = "time with / without", "share of the driver's CPU"
LIMITS = {f"{kind}, {what}": limit for kind in KINDS for what, limit in ((TIME, 1.03), (SHARE, 0.03))}


def main() -> int:
    parser = programs.parser(__doc__, rounds=5)
    parser.add_argument("--jobs", type=int, default=300)
    options = parser.parse_args()
    [python] = programs.pythons(options)
    measured: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    with programs.directory() as root:
        (root / "app").mkdir()  # what programs leave below the root is none of its code
        (root / "app" / "app.py").write_text(APP)
        sweep(python, root, 2, "nothing configured", receipts=True)
        for number in range(options.rounds):
            for kind in KINDS:
                for receipts in programs.in_turns([True, False], number):
                    ran = sweep(python, root, options.jobs, kind, receipts=receipts)
                    measured.setdefault((kind, receipts), []).append(ran)
                    with_or_without = "with" if receipts else "without"
                    print(
                        f"round {number}: {kind}, {with_or_without}: {ran[0]:.1f} s, {ran[1]:.1%}", flush=True
                    )
    results = programs.Results([python])
    for kind in KINDS:
        pairs = zip(measured[kind, True], measured[kind, False], strict=True)
        ratio = statistics.median(one[0] / other[0] for one, other in pairs)
        results.add(f"{kind}, {TIME}", programs.label(python), ratio)
        results.add(
            f"{kind}, {SHARE}", programs.label(python), statistics.median(r[1] for r in measured[kind, True])
        )
    return results.show(LIMITS)


def sweep(python: Path, root: Path, jobs: int, kind: str, *, receipts: bool) -> tuple[float, float]:
    """The seconds that it took, and the share of the driver's CPU time that receipts took."""
    more = {} if receipts else {"WITHOUT_RECEIPTS": "1"}
    if kind == "a named store":
        more["RAY_S3_BASE_PATH"] = (root / "store").as_uri()
    environ = programs.environment(root, **more)
    swept = ",".join(map(str, range(1, jobs + 1)))
    command = [python, "app.py", "-m", "hydra/launcher=ray_s3", f"+x={swept}", "hydra.sweep.dir=sweep"]
    ran = programs.run(command, root / "app", environ)
    left = len(list(root.glob("**/ray_s3/jobs/*.json")))
    assert left == jobs * receipts, f"{left} receipts"
    for path in root.glob("**/ray_s3/jobs/*.json"):
        path.unlink()
    found = re.search(r"^CPU: (\S+) (\S+)$", ran.output, re.MULTILINE)
    assert found is not None, ran.output
    return ran.seconds, float(found[1]) / float(found[2])


if __name__ == "__main__":
    sys.exit(main())
