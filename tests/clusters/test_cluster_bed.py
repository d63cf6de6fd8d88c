"""The test bed is what it says: both workers work, nothing of the driver's is there."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import cluster_bed
import pytest

_LOOK = """
import os, sys, ray
ray.init(sys.argv[1], logging_level="ERROR")

@ray.remote
def look(paths):
    import importlib.util, socket, tempfile, time
    time.sleep(0.5)
    return {
        "host": socket.gethostname(),
        "there": [path for path in paths if os.path.exists(path)],
        "tmp": tempfile.gettempdir(),
        "home": os.listdir(os.environ["HOME"]),
        "variables": [name for name in os.environ if name.startswith(("AWS_", "VIRTUAL", "PYTHONPATH"))],
        "boot": open("/proc/sys/kernel/random/boot_id").read(),
        "obstore": importlib.util.find_spec("obstore") is not None,
    }

print(ray.get([look.remote(sys.argv[2:]) for _ in range(2)]))
"""


def test_both_workers_work_and_see_nothing_of_the_driver(
    bed: cluster_bed.Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the driver's")
    mine = [str(cluster_bed.REPO / "setup.cfg"), str(tmp_path), sys.executable]
    done = cluster_bed.drive(_LOOK, bed.address, *mine, env=bed.environment(), cwd=tmp_path)
    assert done.code == 0, done.err
    seen = ast.literal_eval(done.out)
    assert {one["tmp"] for one in seen} == {str(node.tmp) for node in bed.workers}
    assert [one["variables"] for one in seen] == [[], []]
    assert not any(one["obstore"] for one in seen)
    if all(node.isolated for node in bed.workers):
        assert {one["host"] for one in seen} == {node.name for node in bed.workers}
        assert [one["there"] for one in seen] == [[], []]
        here = Path("/proc/sys/kernel/random/boot_id").read_text()
        assert len({here, *(one["boot"] for one in seen)}) == 3


def test_logs_are_all_that_the_nodes_keep(bed: cluster_bed.Bed) -> None:
    names = {path.name for path in bed.logs()}
    assert {"gcs_server.out", "raylet.out", "output.txt"} <= names
