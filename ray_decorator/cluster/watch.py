"""Notice that the Ray we are connected to is gone, before Ray itself does.

What Ray 2.60 does when nobody of it answers any more: a direct driver's tasks stay pending, and after 60 s
Ray ends the driver's process, without its ``atexit`` handlers (RAY_gcs_rpc_server_reconnect_timeout_s, which
connecting.py sets, postpones that). A Ray Client gives up after 30 s. Where the node that a direct driver
stands on dies alone, tasks that were running there never end.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..core.errors import ClusterError
from ..core.network import connect_error

log = logging.getLogger(__name__)

_EVERY = 5.0
_TRIES = 3

Place = tuple[str, str, int]
"""What stands there, and its host and port."""


class Watch:
    """Tries the connected Ray every ``every`` seconds, in a thread of its own.

    ``lost`` is called at most once, from that thread, when three tries in a row have failed or Ray Client has
    given up: no longer than four times ``every`` after Ray is gone. From then on, leave Ray alone: over
    ``host:port`` calls of it hang (``ray.shutdown()``, ``ray.nodes()``, ``ray.get``) or end the process
    (``ray.put``), and over ``ray://`` ``.remote()`` may start another Ray. The process can end in the usual
    way, for which Ray takes some 6 seconds.
    """

    def __init__(self, address: str, lost: Callable[[ClusterError], None], *, every: float = _EVERY) -> None:
        self._address = address
        self._lost = lost
        self._every = every
        self._client = _is_client()
        self._places = _client_places(address) if self._client else _direct_places()
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="ray-watch", daemon=True).start()

    def close(self) -> None:
        """Look no more; ``lost`` is not called from now on."""
        self._closed.set()

    def _run(self) -> None:
        failures: list[str] = []
        while len(failures) < _TRIES:
            since = time.monotonic()
            failure = first_silent(self._places, self._every * 0.8)
            failures = [*failures, failure] if failure else []
            if self._client and not _is_client():
                failures = ["Ray Client has given its connection up"]
                break
            if self._closed.wait(max(0.0, self._every - (time.monotonic() - since))):
                return
        if not self._closed.is_set():
            self._closed.set()
            _give_excepthook_back()
            self._lost(ClusterError(_message(self._address, failures[-1])))


def first_silent(places: Sequence[Place], seconds: float) -> str | None:
    """Which of the places takes no TCP connection within ``seconds``, in words; None where all do."""
    for what, host, port in places:
        if (error := connect_error(host, port, seconds)) is not None:
            return f"{what} at {host}:{port} does not answer ({error})"
    return None


def _message(address: str, failure: str) -> str:
    if address == "local":
        return (
            f"The private Ray on this machine has ended: {failure}. Its processes may have been killed for "
            "want of memory: see `dmesg`, and Ray's logs below /tmp/ray/session_latest/logs. Run again for "
            "the jobs that had not finished, with fewer at a time (max_concurrent)."
        )
    return (
        f"Ray at {address} is gone: {failure}. See that its head node is up (`ray status` there) and can be "
        "reached from here, and run again for the jobs that had not finished."
    )


def _give_excepthook_back() -> None:
    """Ray's own tells the GCS of an uncaught exception before it is printed, and so would never print it."""
    import ray

    worker = getattr(ray._private, "worker", None)
    if sys.excepthook is getattr(worker, "custom_excepthook", None):
        sys.excepthook = getattr(worker, "normal_excepthook", sys.__excepthook__)


def _is_client() -> bool:
    import ray

    return bool(ray.util.client.ray.is_connected())  # type: ignore[no-untyped-call]


def _client_places(address: str) -> tuple[Place, ...]:
    if not address.startswith("ray://"):  # connected by the user's own code, to a place that we do not know
        return ()
    return (_place("Ray Client", address.removeprefix("ray://")),)


def _direct_places() -> tuple[Place, ...]:
    import ray

    context = ray.get_runtime_context()
    own, nodes = context.get_node_id(), ray.nodes()  # type: ignore[no-untyped-call]
    return (
        _place("its GCS", context.gcs_address),
        *(_raylet(node) for node in nodes if node["NodeID"] == own),
    )


def _raylet(node: dict[str, Any]) -> Place:
    return "the raylet of this process", node["NodeManagerAddress"], node["NodeManagerPort"]


def _place(what: str, address: str) -> Place:
    host, _, port = address.rpartition(":")
    return what, host.strip("[]"), int(port)
