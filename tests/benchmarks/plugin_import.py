"""How much later a Hydra app starts because the plugin is installed.

    python tests/benchmarks/plugin_import.py [--rounds 15]

Starts the same app with the plugin and without it (hidden, not uninstalled), in turns. Prints the median
of the whole app's wall time; of Hydra's own timing of the plugin's modules, which it executes itself, past
the import system; and of the time in modules that -X importtime lists only where the plugin is.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable

PLUGIN = "hydra_plugins.hydra_ray_s3_launcher"
LIMIT_MS = 40.0

HIDE = f"import sys; sys.modules[{PLUGIN!r}] = None\n"
APP = f"""
import sys
import hydra
from hydra.core.plugins import Plugins

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    spent = Plugins.instance().get_stats().modules_import_time
    print(sum(seconds for name, seconds in spent.items() if name.startswith({PLUGIN!r})))

sys.argv[1:] = ["hydra.run.dir=run", "hydra.output_subdir=null"]
main()
"""


def start(source: str, *options: str) -> tuple[float, float, dict[str, float]]:
    """Wall time, Hydra's own timing of the plugin, and each imported module's own time; all in ms."""
    with tempfile.TemporaryDirectory() as cwd:
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *options, "-c", source], cwd=cwd, capture_output=True, text=True, check=True
        )
        wall = time.perf_counter() - begun
    rows = re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)$", done.stderr, re.MULTILINE)
    return wall * 1e3, float(done.stdout) * 1e3, {name: int(us) / 1e3 for us, name in rows}


def spread(values: Iterable[float]) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered):6.1f} ms   ({ordered[0]:.1f} to {ordered[-1]:.1f})"


def main(rounds: int) -> int:
    start(APP), start(HIDE + APP)  # compile, and warm the file cache
    added_wall, discovery, added_imports = [], [], []
    for _ in range(rounds):
        with_wall, spent, _modules = start(APP)
        added_wall.append(with_wall - start(HIDE + APP)[0])
        discovery.append(spent)
        modules, others = start(APP, "-X", "importtime")[2], start(HIDE + APP, "-X", "importtime")[2]
        added = {name: ms for name, ms in modules.items() if name not in others}
        added_imports.append(sum(added.values()))
    print(f"{rounds} rounds, median (least to most)")
    print(f"app's wall time, added:            {spread(added_wall)}")
    print(f"Hydra's timing of our modules:     {spread(discovery)}")
    print(f"-X importtime, modules only ours:  {spread(added_imports)}   {', '.join(sorted(added))}")
    cost = statistics.median(discovery) + statistics.median(added_imports)
    print(f"discovery and imports together: {cost:.1f} ms, at most {LIMIT_MS:.0f} ms wanted")
    return int(cost > LIMIT_MS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    sys.exit(main(parser.parse_args().rounds))
