"""Let Ray Client's server know at once that this process has been killed.

A direct driver's jobs end with its connection. A Ray Client's server waits for the client to come back, 30 s or as
RAY_S3_PATIENCE says: it cannot tell a killed driver from a network that is down for a moment. So a small process of
ours, in a session of its own, outlives the driver and ends the client's session in its place, as Ray Client itself
does when a program ends.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
from collections.abc import Sequence

from .. import ray_api

log = logging.getLogger(__name__)

_END_SECONDS = 5.0
_STAYS_QUIET = b"."
_PROGRAM = """
import json, sys
told = json.loads(sys.stdin.buffer.readline())
if not sys.stdin.buffer.read():
    sys.path[:] = told["path"]
    from ray_decorator.cluster.ray_api import end_client
    end_client(told["address"], told["client"])
"""


class Farewell:
    """Kept while this process has jobs. Does nothing where it is not connected by Ray Client.

    A process that was forked from this one, and lives on, keeps the message back: then the server waits as ever.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        if (session := ray_api.client_session()) is None:
            return
        address, client = session
        try:
            self._process = _started(address, client)
        except OSError as exc:
            log.warning(
                "The jobs of this driver will end later, should it be killed: no process starts (%s)", exc
            )

    def close(self) -> None:
        """Say nothing when this process ends."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(OSError):  # it has ended already
            process.stdin.write(_STAYS_QUIET)
            process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _started(address: str, client: Sequence[tuple[str, str]]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], cwd="/", start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None
    told = {"path": sys.path, "address": address, "client": client}
    process.stdin.write(json.dumps(told).encode() + b"\n")
    process.stdin.flush()
    return process
