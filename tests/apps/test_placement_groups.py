"""A job that is scheduled into a placement group is in it, as a plain task of Ray is."""

from __future__ import annotations

import pytest
import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from ray_decorator import ray_decorator

pytestmark = pytest.mark.usefixtures("ray_session")


def tell() -> str | None:
    found = ray.util.get_current_placement_group()
    return found.id.hex() if found is not None else None


def job() -> list[str | None]:
    """The group of the job, and that of a task of its own."""
    return [tell(), ray.get(ray.remote(num_cpus=0)(tell).remote(), timeout=60)]


@pytest.mark.parametrize("captures", [True, False])
def test_it_sees_the_group_and_its_tasks_join_it_as_rays_own_do(captures: bool) -> None:
    group = ray.util.placement_group([{"CPU": 1}])
    assert ray.get(group.ready(), timeout=60)
    there = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=captures)
    options = {"scheduling_strategy": there, "num_cpus": 1}
    plain = ray.get(ray.remote(**options)(job).remote(), timeout=60)
    assert plain == [group.id.hex(), group.id.hex() if captures else None]
    assert ray_decorator(ray_remote_kwargs=options)(job)() == plain
    assert ray_decorator()(job)() == [None, None]
    ray.util.remove_placement_group(group)
