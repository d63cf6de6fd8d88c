"""A job that outlives its credentials asks the driver for the newest ones."""

from __future__ import annotations

import json
import logging
from typing import Any

from ...core.values.stores import Credentials

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 20.0


def ask(broker: Any) -> Credentials | None:
    """The newest credentials that the driver has told of; None where there are none. For a Ray task.

    ``broker`` is the actor's handle of `cluster.credential_broker`.
    """
    import ray

    try:
        packed = ray.get(broker.newest.remote(), timeout=_ANSWER_SECONDS)
    except ray.exceptions.RayError as exc:
        log.warning("Nobody answers with new credentials: %s", type(exc).__name__)
        return None
    return Credentials(*json.loads(packed)) if packed else None
