"""Each option that Ray has for a task is honoured, or refused with what to do instead."""

from __future__ import annotations

from typing import Any

import pytest

from ray_decorator.core.errors import InputError
from ray_decorator.core.options.job_options import for_ray
from ray_decorator.core.options.settings import Options

HONOURED: dict[str, Any] = {
    "num_cpus": 2,
    "num_gpus": 0,
    "memory": 1e6,
    "resources": {"lathe": 1},
    "accelerator_type": "T4",
    "label_selector": {"zone": "a"},
    "fallback_strategy": [{"label_selector": {"zone": "b"}}],
    "scheduling_strategy": "SPREAD",
    "placement_group": None,
    "placement_group_bundle_index": 0,
    "placement_group_capture_child_tasks": True,
    "runtime_env": {"env_vars": {"A": "b"}},
    "max_calls": 1,
    "enable_task_events": False,
    "_labels": {"a": "b"},
}
OURS = {"max_retries": 1, "retry_exceptions": True}
REFUSED = {
    "name": ("x", "each job has a name of its own"),
    "num_returns": (2, "a job returns one value: return a tuple"),
    "_generator_backpressure_num_objects": (1, "return a list"),
    "_num_objects_per_yield": (2, "return a list"),
    "max_concurrency": (2, "max_concurrent bounds how many run at once"),
    "max_pending_calls": (2, "max_concurrent bounds how many are in flight"),
    "max_restarts": (2, "max_retries says how often"),
    "max_task_retries": (2, "max_retries says how often"),
}
BY_RAY = {"object_store_memory"}


def test_the_options_of_this_ray_are_all_decided_upon() -> None:
    """A Ray that has more of them than this table is seen here first; they go to Ray meanwhile."""
    from ray._common.ray_option_utils import task_options

    assert set(task_options) - REFUSED.keys() == {*HONOURED, *OURS, *BY_RAY}


def test_what_ray_gets() -> None:
    settings = Options(ray_remote_kwargs={**HONOURED, **OURS, "name": None, "num_returns": 1}).resolve()
    assert settings.ray_remote_kwargs == HONOURED
    assert settings.retries.most == 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_what_to_do(name: str) -> None:
    value, cure = REFUSED[name]
    with pytest.raises(InputError) as caught:
        Options(ray_remote_kwargs={name: value, "num_cpus": 1}).resolve()
    [problem] = caught.value.problems
    assert problem.startswith(f"ray_remote_kwargs.{name} cannot be set: ") and cure in problem
    assert for_ray({name: None}) == ({}, [])


def test_all_of_them_at_once_with_what_is_wrong_with_retries() -> None:
    with pytest.raises(InputError) as caught:
        Options(ray_remote_kwargs={"num_returns": 2, "name": "x", "max_retries": "many"}).resolve()
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "ray_remote_kwargs.num_returns",
        "ray_remote_kwargs.name",
        "ray_remote_kwargs.max_retries",
    ]
