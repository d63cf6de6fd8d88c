"""Ray is connected to while the rest of the launcher is imported, which takes as long as a worker's start."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from hydra.types import TaskFunction

from ray_decorator.cluster.connecting import connection
from ray_decorator.core.errors import RayS3Error
from ray_decorator.core.options.settings import Options
from ray_decorator.core.values.inherited import JOB
from ray_decorator.frontends.terms import mark_of


def connect(options: Mapping[str, Any], task_function: TaskFunction) -> None:
    """Begin, if the launcher's ``options`` are right: else `_core.prepare` says what is wrong."""
    if JOB in os.environ:  # this may be a process that is not to use Ray
        return
    with contextlib.suppress(RayS3Error):
        given = Options(**options)
        if (mark := mark_of(task_function)) is not None:
            given = given.over(mark.terms.options)
        connection.begin(given.resolve())
