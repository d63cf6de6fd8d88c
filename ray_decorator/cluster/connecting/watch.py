"""Notice that the Ray we are connected to is gone, before Ray itself does.

What Ray 2.60 does when nobody of it answers any more: a direct driver's tasks stay pending, and after 60 s
Ray ends the driver's process, without its ``atexit`` handlers; a Ray Client gives up after 30 s. (Both are
postponed by connection.py.) Where the node that a direct driver is connected to dies alone, tasks that
were running there never end; nor do they where what is behind Ray Client's proxy hangs, which itself answers.

A fault-tolerant head restarts meanwhile: RAY_S3_PATIENCE is how long it may take.
"""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Any

from ...core.errors import ClusterError, InputError
from ...core.machine.at_exit import end_without_destructors
from ...core.machine.network import connect_error, greeted, host_and_port
from .. import ray_api
from ..asking import asked

_EVERY = 5.0
_TRIES = 3
_PATIENCE = 30.0

Place = tuple[str, str, int]
"""What listens there, its host and its port."""


def patience() -> float:
    """For how many seconds a cluster may be silent before it counts as lost: RAY_S3_PATIENCE, 30 by default.

    A head that restarts (Ray's GCS fault tolerance) needs so long. Raises InputError for what is no such
    number.
    """
    given = os.environ.get("RAY_S3_PATIENCE") or str(_PATIENCE)
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InputError(
            f"RAY_S3_PATIENCE is {given!r}; expected for how many seconds a cluster may be silent before it "
            f"counts as lost, a number above 0, such as {_PATIENCE:.0f}"
        )
    return seconds


class Watch:
    """Tries the connected Ray every ``every`` seconds, in a thread of its own.

    ``lost`` is called at most once, from that thread, when at least three tries in a row have failed, the
    first of them `patience` seconds ago, or when Ray Client has given up. From then on, leave Ray alone: over
    ``host:port`` calls of it hang (``ray.shutdown()``, ``ray.nodes()``, ``ray.get``) or end the process
    (``ray.put``), and over ``ray://`` ``.remote()`` may start another Ray. The process can end in the usual
    way, in which Ray's own goodbye is left out.
    """

    def __init__(self, address: str, lost: Callable[[ClusterError], None], *, every: float = _EVERY) -> None:
        self._address = address
        self._lost = lost
        self._mark = ray_api.connection_mark()
        self._patience = patience()
        self._every = min(every, self._patience / _TRIES)
        known = ray_api.is_client()
        self._client = address.startswith("ray://") if known is None else known
        self._places = _client_places(address) if self._client else _direct_places()
        self._answer: Future[object] | None = None
        self._closed = threading.Event()
        self.silent = False
        """Whether this Ray did not answer any more: it is to be left alone."""
        threading.Thread(target=self._run, name="ray-watch", daemon=True).start()
        if not self._client:
            threading.Thread(target=self._add_raylet, name="ray-watch-raylet", daemon=True).start()

    def close(self) -> None:
        """Look no more, but once more now; ``lost`` is not called from now on."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._failure(self._every) is not None:
            self._leave_alone()

    def _is_connected(self) -> bool:
        """Whether this process has not left that Ray by itself."""
        return not self._mark or ray_api.connection_mark() in (None, self._mark)

    def _leave_alone(self) -> None:
        """Let this process end without a goodbye: a Ray that hangs never answers it.

        Not where the process has left it by itself: whatever Ray it has joined since is to be left as ever.
        """
        import ray

        ray_api.give_excepthook_back()
        if self._is_connected():
            self.silent = True
            if end_without_destructors():
                atexit.unregister(ray.shutdown)

    def _add_raylet(self) -> None:
        self._places += _own_raylet()  # a GCS that is dying tells it never

    def _failure(self, seconds: float) -> str | None:
        return first_silent(self._places, seconds) or self._unanswered(seconds)

    def _unanswered(self, seconds: float) -> str | None:
        """What gives no answer through Ray Client within ``seconds``, in words; None where all do.

        One question at a time: each that hangs keeps a thread of the proxy's, which has a hundred for all its users.
        """
        if not self._client:
            return None
        if self._answer is None or self._answer.done():
            self._answer = asked(_through_client)
        answered, _ = wait([self._answer], seconds)
        return None if answered else "its head does not answer through Ray Client"

    def _run(self) -> None:
        silent_since, failures, failure = 0.0, 0, None
        while failures < _TRIES or time.monotonic() - silent_since < self._patience:
            since = time.monotonic()
            failure = self._failure(self._every * 0.8)
            failures = failures + 1 if failure else 0
            silent_since = since if failures <= 1 else silent_since
            if self._client and ray_api.is_client() is False:
                failure = "Ray Client has given its connection up"
                break
            if not self._is_connected():
                failure = "this process has left it (ray.shutdown())"
                break
            if self._closed.wait(max(0.0, self._every - (time.monotonic() - since))):
                return
        if not self._closed.is_set():
            self._closed.set()
            self._leave_alone()
            self._lost(ClusterError(_message(self._address, f"{failure}", self._patience)))


def first_silent(places: Sequence[Place], seconds: float) -> str | None:
    """Which of the places gives no sign of life within ``seconds``, in words; None where all do."""
    for what, host, port in places:
        if (error := _silence(host, port, seconds)) is not None:
            return f"{what} at {host}:{port} does not answer ({error})"
    return None


def _silence(host: str, port: int, seconds: float) -> OSError | None:
    if os.environ.get("RAY_USE_TLS", "").lower() in ("1", "true"):  # it would log each greeting as an error
        return connect_error(host, port, seconds)
    try:
        greeted(host, port, seconds)
    except OSError as exc:
        return exc
    return None


def _message(address: str, failure: str, seconds: float) -> str:
    if address == "local":
        return (
            f"The private Ray on this machine has ended: {failure}. Its processes may have been killed for "
            "want of memory: see `dmesg`, and Ray's logs below /tmp/ray/session_latest/logs. Run again for "
            "the jobs that had not finished, with fewer at a time (max_concurrent)."
        )
    return (
        f"Ray at {address} is gone: {failure}. See that its head node is up (`ray status` there) and can be "
        "reached from here, and run again for the jobs that had not finished. A head that restarts by itself "
        f"may take longer than {seconds:g} s: set RAY_S3_PATIENCE to more seconds."
    )


def _client_places(address: str) -> tuple[Place, ...]:
    if not address.startswith("ray://"):  # connected by the user's own code, to a place that we do not know
        return ()
    return (("Ray Client", *host_and_port(address)),)


def _through_client() -> object:
    """Asks this client's own server, and that asks the GCS."""
    import ray

    if not ray_api.is_client():  # it would ask another Ray, or start one
        return None
    return ray.cluster_resources()  # type: ignore[no-untyped-call]


def _direct_places() -> tuple[Place, ...]:
    import ray

    return (("its GCS", *host_and_port(ray.get_runtime_context().gcs_address)),)


def _own_raylet() -> tuple[Place, ...]:
    import ray

    own = ray.get_runtime_context().get_node_id()
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    what = "the raylet of this process"
    return tuple(
        (what, each["NodeManagerAddress"], each["NodeManagerPort"]) for each in nodes if each["NodeID"] == own
    )
