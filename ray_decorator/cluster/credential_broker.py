"""Fresh credentials for jobs that outlive those that they started with.

    driver                          Ray actor, no CPU               worker
      Broker, a thread
        identity.fresh() ──tell──▶    bytes in its memory    ◀──newest──  job.fresh_credentials

The actor's class travels by value and needs the standard library only: a cluster's nodes have nothing of
ours. Credentials go to it by a call, never by its constructor, whose arguments Ray keeps. They are in no
file, environment, log or repr.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any

from ..core.errors import StoreError
from ..core.values.stores import Credentials
from ..store.transport.renewal import Renew, renewal_time

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 20.0
_JOIN_SECONDS = 5.0
_LONGEST_PAUSE = 60.0  # the actor starts empty again, where its node was lost
_PAUSE_AFTER_FAILURE = 5.0


class Broker:
    """Keeps an actor supplied with the driver's newest credentials. Needs a connected Ray, Client or direct.

    Worth its while where `Staging.expires` is a time: ``Broker(staging.fresh)``. ``handle`` goes to tasks as
    an argument of its own (not inside of a pickled one), for `job.aws.fresh_credentials.ask`.
    """

    def __init__(self, fresh: Renew) -> None:
        import ray

        actor: Any = ray.remote(num_cpus=0, max_restarts=-1)(_memory())
        self.handle: Any = actor.remote()
        self._fresh = fresh
        self._warned = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ray-s3-broker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and end the actor. To be called once no job needs it any more."""
        self._closed.set()
        ending = threading.Thread(target=self._end_actor, name="ray-s3-broker-end", daemon=True)
        ending.start()
        for thread in (ending, self._thread):
            thread.join(_JOIN_SECONDS)  # where the cluster is lost, Ray's calls wait for ever

    def _end_actor(self) -> None:
        import ray

        if ray.is_initialized():
            try:
                ray.kill(self.handle)
            except Exception as exc:  # it ends with the driver at the latest
                log.debug("The actor with the credentials was not there any more: %s", type(exc).__name__)

    def _run(self) -> None:
        pause = 0.0
        while not self._closed.wait(pause):
            pause = self._round()

    def _round(self) -> float:
        """Bring the newest credentials to the actor; how many seconds to wait before the next round."""
        try:
            credentials = self._fresh()
            self._warned = False
        except StoreError as exc:
            if not self._warned:
                log.warning("%s. Running jobs take up the new credentials once they are there", exc)
            self._warned = True
            return _PAUSE_AFTER_FAILURE
        if credentials is None:
            return _LONGEST_PAUSE
        if not self._tell(credentials):
            return _PAUSE_AFTER_FAILURE
        if credentials.expires is None:
            return _LONGEST_PAUSE
        now = time.time()
        return min(_LONGEST_PAUSE, max(0.5, renewal_time(credentials.expires, now) - now))

    def _tell(self, credentials: Credentials) -> bool:
        import ray

        if not ray.is_initialized():  # a call through a lost Ray Client would start a Ray on this machine
            return False
        try:
            ray.get(self.handle.tell.remote(_packed(credentials)), timeout=_ANSWER_SECONDS)
            return True
        except Exception as exc:  # Ray's own, gRPC's or the connection's: the next round tries again
            if not self._closed.is_set():
                log.info("The jobs could not be told of new credentials yet: %s", type(exc).__name__)
            return False


def _packed(credentials: Credentials) -> bytes:
    fields = (credentials.access_key, credentials.secret_key, credentials.token, credentials.expires)
    return json.dumps(fields).encode()


def _memory() -> type:
    """The actor's class; made in a function, so that it is pickled by value."""

    class RayS3Credentials:
        def __init__(self) -> None:
            self._packed = b""

        def tell(self, packed: bytes) -> None:
            self._packed = packed

        def newest(self) -> bytes:
            return self._packed

    return RayS3Credentials
