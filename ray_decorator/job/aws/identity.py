"""Who boto3, and what else reads AWS's config files, is in a job and in its children: the driver, as the store is.

    job's process                                        boto3, in the job or a child of it
      AWS_CONFIG_FILE (config.py) ──── region, endpoint ▶ reads
                         credential_process ─────────────▶ runs credential_process.py
      _Server ◀── private socket ──────────────────────────  asks
        └─ asks the driver where these credentials end (fresh_credentials.py)

No key is in a file or an environment. The file and the socket stay for as long as the process lives: modules, and the
clients that they keep, outlive a job.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import json
import logging
import os
import socketserver
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

from ...core.errors import InputError
from ...core.values.inherited import AWS_IDENTITY
from ...core.values.stores import Credentials, Location
from ...store.identity import aws_settings
from ...store.transport.renewal import Renew, clock
from ..disk.scratch import open_scratch
from ..disk.sockets import socket_path
from ..process.inheritance import chosen_variables
from .config import aws_config

log = logging.getLogger(__name__)

_WINDOW = 15 * 60.0  # botocore asks for new credentials in the last 15 minutes of the old ones
_PAUSE = 1.0  # between two questions to the driver

_WAY = {
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CA_BUNDLE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
    "AWS_RETRY_MODE",
    "AWS_MAX_ATTEMPTS",
    "AWS_SIGV4A_SIGNING_REGION_SET",
    "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH",
    "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT",
    "AWS_S3_USE_ARN_REGION",
}
"""How boto3 reaches AWS: the driver's way is in the job's file, and a variable of the node's would come first."""

_ENDPOINT = "AWS_ENDPOINT_URL"  # and AWS_ENDPOINT_URL_S3, …


@contextlib.contextmanager
def in_force(
    place: Location, renew: Renew | None, profiles: frozenset[str] = frozenset(), *, at_home: bool
) -> Iterator[None]:
    """AWS libraries act as the driver does towards the store ``place``, for as long as the block lasts.

    Nothing changes for a store that is no S3 (the driver's variables travel then: `inheritance.take_over`), where
    each worker has credentials of its own, where this process has the very settings of the driver (a private Ray),
    and where the ``runtime_env`` has chosen others.
    ``renew`` gives newer credentials. ``profiles`` are names that the driver has as a profile.
    """
    chosen = chosen_variables()
    same = at_home and place.settings == aws_settings()
    if not place.url.startswith("s3://") or place.own_credentials or same or chosen & AWS_IDENTITY:
        yield
        return
    try:
        server = _server(place, profiles)
    except (OSError, InputError) as exc:  # a job that uses no S3 by itself does not need it
        log.warning("boto3 in this job does not have the driver's AWS settings: %s", exc)
        yield
        return
    before = {name: value for name, value in os.environ.items() if _is_the_nodes(name)}
    with server.taking_from(place.credentials, renew):
        try:
            for name in before.keys() - chosen:
                del os.environ[name]
            os.environ.update({name: server.environ[name] for name in server.environ.keys() - chosen})
            yield
        finally:
            for name in [name for name in os.environ if _is_the_nodes(name)]:
                del os.environ[name]
            os.environ.update(before)


def _is_the_nodes(name: str) -> bool:
    return name in AWS_IDENTITY or name in _WAY or name.startswith(_ENDPOINT)


_servers: dict[tuple[Location, frozenset[str], str, str], _Server] = {}
_lock = threading.Lock()


def _server(place: Location, profiles: frozenset[str]) -> _Server:
    plain = dataclasses.replace(place, credentials=None)
    nodes_own = [os.environ.get(name, "") for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")]
    key = (plain, profiles, nodes_own[0], nodes_own[1])
    with _lock:
        if key not in _servers or not _servers[key].intact():  # somebody has cleaned up a /tmp
            _servers[key] = _Server(plain, profiles, signed=place.credentials is not None)
        return _servers[key]


@functools.cache
def _until_exit(process: int) -> contextlib.ExitStack:
    """What is closed when ``process`` ends by itself; what a killed one leaves, a later job removes."""
    stack = contextlib.ExitStack()
    atexit.register(lambda: stack.close() if os.getpid() == process else None)
    return stack


class _Server:
    """The config file for one store, and the thread that gives credentials to who runs what it names."""

    def __init__(self, place: Location, profiles: frozenset[str], *, signed: bool) -> None:
        stack = _until_exit(os.getpid())
        directory = stack.enter_context(open_scratch(f"code-aws-{uuid.uuid4().hex}")).path
        self._held: Credentials | None = None
        self._renew: Renew | None = None
        self._asked = 0.0
        self._lock = threading.Lock()
        self._config = directory / "config"
        self._socket = socket_path(directory, stack) if signed else None
        credentials = directory / "credentials"
        credentials.touch(0o600)
        self.environ = {
            "AWS_CONFIG_FILE": str(self._config),
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials),  # else that of the node would come first
        }
        if place.endpoint_in_environ and place.endpoint:
            self.environ[f"{_ENDPOINT}_S3"] = place.endpoint  # pyarrow, pandas and polars look here alone
        if self._socket is not None:
            listener = stack.enter_context(_Listener(str(self._socket), self))
            threading.Thread(target=listener.serve_forever, name="ray-s3-aws", daemon=True).start()
            stack.callback(listener.shutdown)
        bundle = directory / "ca.pem" if place.ca_bundle else None
        if bundle is not None:
            bundle.write_text(place.ca_bundle or "")
        self._config.touch(0o600)
        self._config.write_text(aws_config(place, bundle, self._socket, os.environ, profiles))

    def intact(self) -> bool:
        """Whether what it has put down is still there."""
        return self._config.exists() and (self._socket is None or self._socket.exists())

    @contextlib.contextmanager
    def taking_from(self, credentials: Credentials | None, renew: Renew | None) -> Iterator[None]:
        """A job has come with these; newer ones are asked for while the block lasts."""
        with self._lock:
            self._held, self._renew, self._asked = credentials, renew, 0.0
        try:
            yield
        finally:
            with self._lock:
                self._renew = None  # the driver hears us only while a job runs

    def answer(self) -> dict[str, object]:
        """The newest credentials, in AWS's form; or a ``Problem`` for who asks."""
        with self._lock:
            now = time.time()
            if self._renew is not None and _end(self._held) < now + _WINDOW and now >= self._asked + _PAUSE:
                self._ask(self._renew)
            held = self._held
        if held is None:
            return {"Problem": "the driver has sent no AWS credentials"}
        if held.expires is None:
            return _document(held)
        if held.expires <= time.time():
            return {
                "Problem": f"the driver's AWS credentials expired at {clock(held.expires)}, and it has sent no new "
                "ones: log in again on the driver (aws sso login, or what you use for it)"
            }
        return _document(held) | {"Expiration": datetime.fromtimestamp(held.expires, UTC).isoformat()}

    def _ask(self, renew: Renew) -> None:
        try:
            self._held = renew() or self._held
        except Exception as exc:  # the way to the driver is gone: those at hand are given until they end
            log.warning("The driver could not be asked for new credentials: %s", type(exc).__name__)
        self._asked = time.time()


class _Listener(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128  # a job's children may start all at once

    def __init__(self, path: str, server: _Server) -> None:
        super().__init__(path, _Handler)
        self.given = server

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("Who asked for credentials has hung up", exc_info=True)


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Listener)
        self.wfile.write(json.dumps(self.server.given.answer()).encode())


def _end(credentials: Credentials | None) -> float:
    if credentials is None:
        return 0.0
    return float("inf") if credentials.expires is None else credentials.expires


def _document(held: Credentials) -> dict[str, object]:
    made = {"Version": 1, "AccessKeyId": held.access_key, "SecretAccessKey": held.secret_key}
    return made if held.token is None else made | {"SessionToken": held.token}
