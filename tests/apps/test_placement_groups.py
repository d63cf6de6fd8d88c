"""What of Ray itself a job uses is as for a plain task: its placement group; a detached actor outlives it."""

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


class Keeper:
    def number(self) -> int:
        return 7


def keeps() -> None:
    options = {"name": "keeper", "namespace": "kept", "lifetime": "detached", "num_cpus": 0}
    assert ray.get(ray.remote(Keeper).options(**options).remote().number.remote(), timeout=60) == 7


def test_a_detached_actor_of_a_job_outlives_it() -> None:
    ray_decorator(ray_remote_kwargs={"max_calls": 1})(keeps)()  # also the process of the job ends
    keeper = ray.get_actor("keeper", namespace="kept")
    assert ray.get(keeper.number.remote(), timeout=60) == 7
    ray.kill(keeper)
