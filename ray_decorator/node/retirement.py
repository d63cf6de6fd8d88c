"""A Ray worker on the driver's machine whose job has left threads or children takes no further one.

Ray has no way to end a worker with the task that it runs now, but one to end it with the next: so that task is sent
back at once, and the worker ends with it. Where this Ray does not know that way, the worker goes on.
"""

from __future__ import annotations

import sys

from ..cluster import ray_api
from ..job.process import reaper

_RETIRED = "_ray_s3_retired"


def leave_children_to_reaper() -> None:
    """When this process ends, a reaper ends what it has started, and not Ray, which spares nothing that is kept."""
    if reaper.watch():
        ray_api.spare_children()


def retire() -> None:
    """This process is to take no further job."""
    if ray_api.end_worker_with_next_task():
        setattr(sys, _RETIRED, True)


def is_retired() -> bool:
    """Whether the task that has come is to be sent back. True once: should Ray not end the process, it goes on."""
    retired = getattr(sys, _RETIRED, False)
    setattr(sys, _RETIRED, False)
    return bool(retired)
