"""A job on a cluster that shares nothing with the driver is in the placement group that it was scheduled into."""

from __future__ import annotations

import uuid
from pathlib import Path

import cluster_bed
import far_project
import pytest
import servers

APP = """
import os
import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from ray_decorator import ray_decorator

ray.init(address=os.environ["RAY_ADDRESS"], logging_level=40)
group = ray.util.placement_group([{"CPU": 1}])
ray.get(group.ready(), timeout=60)


def tell():
    found = ray.util.get_current_placement_group()
    return found.id.hex() if found is not None else None


def job():
    return [tell(), ray.get(ray.remote(num_cpus=0)(tell).remote(), timeout=60)]


def run(**kwargs):
    return ray_decorator(ray_address=os.environ["RAY_ADDRESS"], ray_remote_kwargs={"num_cpus": 1, **kwargs})(job)()


for captures in (True, False):
    there = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=captures)
    assert run(scheduling_strategy=there) == [group.id.hex(), group.id.hex() if captures else None]
assert run() == [None, None]
print("as under plain Ray")
"""


@pytest.mark.client
def test_a_far_job_sees_its_group_and_its_tasks_join_it(
    bed: cluster_bed.Bed, rclone: servers.Server, tmp_path: Path
) -> None:
    """By way of Ray Client; without it, apps/test_placement_groups.py has it."""
    environ = far_project.environment(bed, rclone, tmp_path / "home", uuid.uuid4().hex)
    driver = far_project.Driver(tmp_path, far_project.venv() / "bin" / "python", environ)
    (tmp_path / "app.py").write_text(APP)
    done = driver.run("app.py", RAY_ADDRESS=bed.client_address)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "as under plain Ray", done.stdout
