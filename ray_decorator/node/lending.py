"""A Ray worker whose job is another driver to Ray lends it its CPUs.

Standard library only, but for ray itself: the supervisor imports it.
"""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
import threading
from collections.abc import Callable

_LENT_SECONDS = 60.0  # after which CPUs that were lent for a nested Ray are asked back at the latest


def lend_cpus(done: threading.Event, alive: Callable[[], bool]) -> None:
    """Wait for ``done`` by Ray's own means: others have this task's CPUs meanwhile.

    Returns at most a minute after the runner is not ``alive`` any more.

    A runner whose job uses Ray is another driver to Ray. Where all CPUs belong to such jobs, their tasks
    would wait for ever.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def wait_for(path: str) -> None:
        import fcntl

        with open(path) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    with tempfile.NamedTemporaryFile(prefix="ray-s3-") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiter = ray.remote(wait_for).options(
            num_cpus=0, max_retries=0, scheduling_strategy=here, name="ray-s3: waits for a nested Ray"
        )
        reference = waiter.remote(held.name)

        def release() -> None:
            done.wait()
            with contextlib.suppress(ValueError):  # closed, and so released, already
                fcntl.flock(held, fcntl.LOCK_UN)

        threading.Thread(target=release, name="ray-s3-release", daemon=True).start()
        waits = True
        while waits and alive() and not done.is_set():
            waits = bool(ray.wait([reference], timeout=_LENT_SECONDS, fetch_local=False)[1])
