"""CPUs that a task has lent are others' while its job runs."""

from __future__ import annotations

import threading

import pytest
import ray

from ray_decorator.node.lending import lend_cpus


@pytest.mark.ray
def test_cpus_are_lent_until_the_job_is_done(ray_session: str) -> None:
    @ray.remote(num_cpus=2)
    def lends() -> float:
        done = threading.Event()
        free = ray.remote(num_cpus=2)(lambda: None)

        def once_free() -> None:
            ray.get(free.remote(), timeout=60)
            done.set()

        threading.Thread(target=once_free, daemon=True).start()
        lend_cpus(done, lambda: True)
        return done.is_set()

    assert ray.get(lends.remote(), timeout=120)
