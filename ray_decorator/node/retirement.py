"""A Ray worker on the driver's machine whose job has left threads or children takes no further one.

But for a child that was told to live on: it would end with the worker.

Ray has no way to end a worker with the task that it runs now, but one to end it with the next: so that task is sent
back at once, and the worker ends with it. The private names of Ray that this takes are here; where one is not
as expected, nothing happens, and the worker goes on.

Standard library only, but for ray itself.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

log = logging.getLogger(__name__)

_RETIRED = "_ray_s3_retired"


def retire() -> None:
    """This process is to take no further job."""
    try:
        import ray

        manager: Any = ray._private.worker.global_worker.function_actor_manager
        for function, info in list(manager.execution_infos.items()):
            # Ray counts the calls of a function that has a bound, and ends a process that has reached it
            bound = manager.get_task_counter(function) + 1
            manager.execution_infos[function] = info._replace(max_calls=bound)
    except Exception as exc:
        log.warning(
            "A process whose job has left threads or children takes further jobs: this Ray has changed (%s: %s)",
            type(exc).__name__,
            exc,
        )
    else:
        setattr(sys, _RETIRED, True)


def is_retired() -> bool:
    """Whether the task that has come is to be sent back. True once: should Ray not end the process, it goes on."""
    retired = getattr(sys, _RETIRED, False)
    setattr(sys, _RETIRED, False)
    return bool(retired)
