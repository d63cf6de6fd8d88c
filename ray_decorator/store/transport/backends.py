"""How a store's requests are sent: obstore's clients, each with its time-outs and with how often it tries again.

`timeout` would cut a long transfer, however well it goes. `read_timeout` starts when a request does, and again with
each piece of the answer that comes: without progress for so long, a request is given up, and sent again. No request
has more than half of the patience, which `Uplink` sees to that a slow line can meet.
"""

from __future__ import annotations

import functools
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.store import LocalStore, S3Store

from ...core.machine.directories import cache_home, private_directory
from ...core.values.stores import Location
from ..dvc_directory import make_room
from .patience import request_timeout
from .renewal import Provider
from .s3_clients import s3_config

if TYPE_CHECKING:
    from obstore.store import BackoffConfig, ClientConfig, RetryConfig, S3Credential

_STALLED = 30.0  # seconds; nothing to send: HEAD, GET, LIST, DELETE
_STALLED_SMALL = 60.0
_QUICK: ClientConfig = {"connect_timeout": timedelta(seconds=3), "timeout": timedelta(seconds=4)}
_RETRIES, _RETRY_SECONDS = 4, 10.0  # then it is patience.py's
_QUICK_RETRY: RetryConfig = {"max_retries": 1, "retry_timeout": timedelta(seconds=4)}


class Backends:
    """The clients for one place, each made when it is first needed. ``keys`` None: requests are not signed."""

    def __init__(self, location: Location, keys: Provider | None) -> None:
        self._location, self._keys = location, keys
        self.local = location.url.startswith("file://")
        self.timeout = request_timeout(location.patience)
        """For how many seconds a request that sends much may go without an answer."""

    @functools.cached_property
    def usual(self) -> LocalStore | S3Store:
        """For what sends nothing."""
        return self._with_timeout(_STALLED)

    @functools.cached_property
    def small(self) -> LocalStore | S3Store:
        """For small objects."""
        return self._with_timeout(_STALLED_SMALL)

    @functools.cached_property
    def whole(self) -> LocalStore | S3Store:
        """For larger ones. No second try for what was not answered in time: the line may be slow, and bear less."""
        return self._open(_client(self.timeout), _lasting(0.9 * self.timeout))

    @functools.cached_property
    def patient(self) -> LocalStore | S3Store:
        """For the largest: a part is sent again for as long as it takes, else the whole file would be."""
        return self._open(_client(self.timeout), _lasting(self._location.patience))

    def quick(self) -> LocalStore | S3Store:
        """For one request that tells whether somebody is there."""
        return self._open(_QUICK, _QUICK_RETRY)

    def _with_timeout(self, most: float) -> LocalStore | S3Store:
        seconds = request_timeout(self._location.patience, most)
        retry_timeout = timedelta(seconds=min(_RETRY_SECONDS, seconds))
        return self._open(_client(seconds), {"max_retries": _RETRIES, "retry_timeout": retry_timeout})

    def _open(self, client: ClientConfig, retry: RetryConfig) -> LocalStore | S3Store:
        place = self._location
        if self.local:
            root = Path(place.url.removeprefix("file://"))
            if root.parent == cache_home():
                private_directory(root.parent)
            if place.kept_as is not None:
                make_room(place.kept_as, str(root / "any"))
            return LocalStore(root, mkdir=True)
        bucket = urlsplit(place.url).netloc
        prefix = place.url.partition(bucket)[2].strip("/")
        client = {**client, **_client_options(place, client)}
        return S3Store(
            bucket,
            prefix=prefix or None,
            config=s3_config(place, signed=self._keys is not None),
            client_options={**client, "allow_http": (place.endpoint or "").startswith("http://")},
            retry_config=retry,
            # a provider, since obstore would complete bare keys, or none, with this process's AWS_* variables
            credential_provider=self._keys or _nobody,
        )


def _client(stalled: float) -> ClientConfig:
    return {
        "connect_timeout": timedelta(seconds=5),
        "read_timeout": timedelta(seconds=stalled),
        "timeout": timedelta(days=30),
    }


def _client_options(place: Location, usual: ClientConfig) -> ClientConfig:
    """What the location says of a connection, over what is usual."""
    requests = place.requests
    options: ClientConfig = {}
    if place.ca_bundle:
        options["root_certificate"] = place.ca_bundle
    if not requests.verify:
        options["allow_invalid_certificates"] = True
    if requests.connect_timeout:
        options["connect_timeout"] = timedelta(seconds=requests.connect_timeout)
        if usual is _QUICK:
            options["timeout"] = timedelta(seconds=requests.connect_timeout + 1)
    if requests.read_timeout and "read_timeout" in usual:  # never less than it takes to send what it holds
        wished = timedelta(seconds=min(requests.read_timeout, request_timeout(place.patience)))
        options["read_timeout"] = max(usual["read_timeout"], wished)
    return options


def _lasting(seconds: float) -> RetryConfig:
    backoff: BackoffConfig = {
        "init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=5), "base": 2
    }  # fmt: skip
    return {"max_retries": 1_000, "retry_timeout": timedelta(seconds=seconds), "backoff": backoff}


def _nobody() -> S3Credential:
    """Whose requests are not signed: obstore does not ask for them."""
    return {"access_key_id": "", "secret_access_key": "", "token": None, "expires_at": None}
