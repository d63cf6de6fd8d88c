"""A store is a bucket's prefix or a directory, and a few verbs.

boto3 decides who we are (identity.py); obstore moves the bytes, on the driver and on workers alike. Keys are
relative to the store's own URL. Secrets are in no repr, message or log.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, S3Store

from ..core.contents import Content
from ..core.errors import StoreDeniedError, StoreError, StoreUnreachableError
from ..core.machine.directories import cache_home, private_directory
from ..core.stores import Location
from .faults import Faults, code_of, first_line
from .identity import own
from .incoming import Incoming
from .parts import Faster, PartsUpload
from .patience import Patience, is_passing, request_timeout
from .renewal import Provider, Renew
from .s3_clients import s3_config
from .uplink import FIRST, LEAST, Uplink

if TYPE_CHECKING:
    from obstore import Bytes, GetResult, ObjectMeta
    from obstore.store import BackoffConfig, ClientConfig, RetryConfig, S3Credential

OURS = "ray_s3"
"""The folder of a store in which lies all that is ours alone."""

_PROBE_KEY = f"{OURS}/probe"
_PAGE = 1000  # what S3 lists at most in one request
_UPLOAD_PARTS = 9_000  # S3 takes 10,000 parts at most
_THREADS = 32  # a request takes a real S3 some 20 to 50 ms, and takes us well under one
_LOCAL_THREADS = min(8, 2 * (os.cpu_count() or 1))

# `timeout` would cut a long transfer, however well it goes. `read_timeout` starts when a request does, and again with
# each piece of the answer that comes: without progress for so long, a request is given up, and sent again. No request
# has more than half of the patience, which `Uplink` sees to that a slow line can meet.
_STALLED = 30.0  # seconds; nothing to send: HEAD, GET, LIST, DELETE
_STALLED_SMALL, _SMALL = 60.0, 128 * 1024
_GRACE = 1.0  # seconds; obstore itself gives up before
_LARGE = 512 * 1024 * 1024  # worth beginning anew with more parts at once, and each part worth many tries
_QUICK: ClientConfig = {"connect_timeout": timedelta(seconds=3), "timeout": timedelta(seconds=4)}
_RETRIES, _RETRY_SECONDS = 4, 10.0  # then it is patience.py's
_QUICK_RETRY: RetryConfig = {"max_retries": 1, "retry_timeout": timedelta(seconds=4)}


def open_store(location: Location, renew: Renew | None = None) -> Store:
    """Open the store for work. Sends no request to it; see `Store.check`.

    ``renew`` is asked for new credentials shortly before those of ``location`` end. A location without
    any, whose processes find their own, is opened with this machine's; raises StoreDeniedError where it has
    none.
    """
    return Store(location, renew)


class Seen(NamedTuple):
    """An object as a store tells of it: its key, its size in bytes, its ETag without quotes ("" for none).

    ``modified``: when it was last written, in seconds since 1970, by the store's own clock.
    """

    key: str
    size: int
    etag: str
    modified: float = 0.0


SeenPage = list[Seen]

Page = list[tuple[str, int]]
"""Keys, and the sizes of their objects in bytes."""


class Store:
    """An open store. Its verbs may be called from any thread, and raise StoreError and its kin only."""

    def __init__(self, location: Location, renew: Renew | None = None) -> None:
        self._location, self._renew = location, renew
        self._areas: dict[str, Store] = {}
        self._keys = _provider(location, renew)
        self.url = location.url
        self.local = location.url.startswith("file://")
        self.threads = _LOCAL_THREADS if self.local else location.requests.threads or _THREADS
        """How many requests it is worth to have under way at once."""
        self.ranges = True
        """Whether the server answers ranged reads as it should; set to False by who finds out (rclone)."""
        self.patience = Patience(self.place, location.patience)
        self._timeout = request_timeout(location.patience)
        self.uplink = Uplink(self.place, location.patience, sys.maxsize if self.local else FIRST)
        self._faults = Faults(self.place, location.region, self._lapsed)
        with self._faults.translated(""):
            self._backend = self._with_timeout(_STALLED)

    def of(self, content: Content) -> Store:
        """The part of the store that keeps the content: the store itself, or an area below ``ray_s3/`` like it."""
        return self.area(content.area) if content.area else self

    def area(self, name: str) -> Store:
        """The store at ``ray_s3/<name>``, which is ours alone."""
        if name not in self._areas:
            part = Store(replace(self._location, url=f"{self.url}/{OURS}/{name}"), self._renew)
            part.patience, part.uplink = self.patience, self.uplink
            self._areas.setdefault(name, part)
        return self._areas[name]

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def check(self) -> None:
        """See that the store can be used, with one request; for a directory, that it can be written to.

        Raises StoreUnreachableError (within 10 s), BucketNotFoundError, StoreDeniedError. Credentials
        that may not list the bucket pass: S3 tells them AccessDenied of a key that is not there.
        """
        # a connection that is reset is no news of the store
        Patience(self.place, 1.0).keep(self._check, lambda exc: type(exc) is StoreError and is_passing(exc))

    def _check(self) -> None:
        with self._faults.translated(_PROBE_KEY):
            if self.local:
                self._check_directory()
                return
            try:
                obstore.get(self._open(_QUICK, _QUICK_RETRY), _PROBE_KEY)
            except FileNotFoundError as exc:
                if code_of(exc) is None:
                    raise StoreUnreachableError(
                        f"{self.place} answers, but not as S3 does: {first_line(exc)}"
                    ) from exc
                if code_of(exc) == "NoSuchBucket":
                    raise
            except (PermissionDeniedError, UnauthenticatedError) as exc:
                if code_of(exc) != "AccessDenied":
                    raise

    def head(self, key: str) -> int | None:
        """The size of the object in bytes, None where none is seen: see `look`."""
        seen = self.look(key)
        return None if seen is None else seen.size

    def look(self, key: str) -> Seen | None:
        """What there is of the object, None where none is seen.

        S3 answers so also where the bucket is missing, or the credentials are wrong: the next request
        will tell. It denies a key that is not there to who may not list the bucket.
        """

        def attempt() -> Seen | None:
            with self._faults.translated(key):
                try:
                    return _seen(obstore.head(self._backend, key), key)
                except FileNotFoundError:
                    return None
                except PermissionDeniedError:
                    if self._lapsed():
                        raise
                    return None

        return self.patience.keep(attempt)

    def get(self, key: str) -> Incoming | None:
        """Begin to read an object; None where there is none."""

        def ask() -> GetResult:
            return obstore.get(self._backend, key)

        def attempt() -> Incoming | None:
            with self._faults.translated(key):
                try:
                    return Incoming(key, ask(), ask, self._faults, self.patience)
                except FileNotFoundError as exc:
                    if code_of(exc) == "NoSuchBucket":
                        raise
                    return None

        return self.patience.keep(attempt)

    def get_range(self, key: str, start: int, length: int) -> Bytes:
        """So many bytes of an object that is there, from ``start`` on.

        Raises MissingObjectError where it is gone meanwhile, CorruptObjectError where it is shorter now.
        """

        def attempt() -> Bytes:
            with self._faults.reading(key):
                return obstore.get_range(self._backend, key, start=start, length=length)

        return self.patience.keep(attempt)

    def put(self, key: str, data: bytes) -> None:
        """Write an object in one request."""

        def attempt() -> None:
            with self.uplink.hold(len(data)) as granted, self.uplink.watched():
                if granted < len(data):
                    return self._send_parts(key, [data], len(data), LEAST, 1, None)
                backend = self._small_backend if len(data) <= _SMALL else self._whole_backend
                began = time.monotonic()
                with self._faults.translated(key):
                    obstore.put(backend, key, data, use_multipart=False)
                self.uplink.took(len(data), time.monotonic() - began)

        self.patience.keep(attempt, progress=lambda: self.uplink.progress)

    def put_parts(
        self, key: str, chunks: Callable[[], Iterable[bytes]], size: int, part: int, window: int
    ) -> None:
        """Write an object of ``size`` bytes from its chunks, in parts of ``part`` bytes, ``window`` at once.

        ``chunks`` makes them, anew for each attempt. An exception that they raise aborts the upload: the object
        does not come to be. Over a slow line (`Uplink`) parts are smaller, and fewer at once.
        """
        before = self.look(key)

        def attempt() -> None:
            try:
                self._put_parts(key, chunks, size, part, window)
            except (StoreDeniedError, StoreUnreachableError):
                raise
            except StoreError:
                # where the answer to the last request is lost, obstore repeats it, and finds the upload gone
                now = self.look(key)
                if now is None or now.size != size or now == before:
                    raise

        self.patience.keep(attempt, progress=lambda: self.uplink.progress)

    def _put_parts(
        self, key: str, chunks: Callable[[], Iterable[bytes]], size: int, part: int, wanted: int
    ) -> None:
        try:
            with (
                self.uplink.hold(min(size, wanted * part_size(size, part))) as granted,
                self.uplink.watched(),
            ):
                part = part_size(size, min(part, LEAST) if self.uplink.slow else part)
                window = max(1, min(wanted, granted // part))
                self._send_parts(key, chunks(), size, part, window, wanted)
        except Faster:
            self._put_parts(key, chunks, size, part, wanted)

    def _send_parts(
        self, key: str, chunks: Iterable[bytes], size: int, part: int, window: int, wanted: int | None
    ) -> None:
        large = wanted is not None and size >= _LARGE
        patient = self.local or (large and window == wanted)
        backend = self._patient_backend if patient else self._whole_backend
        upload = PartsUpload(
            self.place, self.patience, self.uplink, part, window, wanted if large and not patient else None
        )

        def put(pieces: Iterator[bytes]) -> None:
            with self._faults.translated(key):
                obstore.put(backend, key, pieces, use_multipart=True, chunk_size=part, max_concurrency=window)

        first = max(self.patience.seconds if patient else 0.0, self._timeout + _GRACE)
        upload.run(put, chunks, first)

    def delete(self, key: str) -> None:
        """Remove an object; that it was not there is no error."""

        def attempt() -> None:
            with self._faults.translated(key), contextlib.suppress(FileNotFoundError):
                obstore.delete(self._backend, key)

        self.patience.keep(attempt)

    def list(self, prefix: str) -> Iterator[Page]:
        """Pages of (key, size) of all below ``prefix``: see `look_at_all`."""
        for page in self.look_at_all(prefix):
            yield [(seen.key, seen.size) for seen in page]

    def look_at_all(self, prefix: str) -> Iterator[SeenPage]:
        """Pages of what there is below ``prefix``: a request each on S3, in the order of keys there."""
        last: str | None = None
        pages = self._pages(prefix, last)

        def attempt() -> SeenPage | None:
            nonlocal pages
            try:
                return next(pages, None)
            except StoreError:
                pages = self._pages(prefix, last)
                raise

        while (page := self.patience.keep(attempt)) is not None:
            if page:
                last = page[-1].key
                yield page

    @functools.cached_property
    def _small_backend(self) -> LocalStore | S3Store:
        return self._with_timeout(_STALLED_SMALL)

    @functools.cached_property
    def _whole_backend(self) -> LocalStore | S3Store:
        # no second try for what was not answered in time: the line may be slow, and bear less
        return self._open(_client(self._timeout), _lasting(0.9 * self._timeout))

    @functools.cached_property
    def _patient_backend(self) -> LocalStore | S3Store:
        # a part is sent again for as long as it takes: else the whole file would be
        return self._open(_client(self._timeout), _lasting(self.patience.seconds))

    def _with_timeout(self, most: float) -> LocalStore | S3Store:
        seconds = request_timeout(self.patience.seconds, most)
        retry_timeout = timedelta(seconds=min(_RETRY_SECONDS, seconds))
        return self._open(_client(seconds), {"max_retries": _RETRIES, "retry_timeout": retry_timeout})

    def _pages(self, prefix: str, after: str | None) -> Iterator[SeenPage]:
        with self._faults.translated(prefix):
            for page in obstore.list(self._backend, prefix, chunk_size=_PAGE, offset=after):
                yield [_seen(meta, meta["path"]) for meta in page]

    def file_of(self, key: str) -> str:
        """The file that is the object ``key``, where the store is a directory."""
        return os.path.join(self.url.removeprefix("file://"), key)

    def folders(self) -> frozenset[str]:
        """The names of the topmost folders: one request. Empty where they cannot be listed."""
        try:
            with self._faults.translated(""):
                found = obstore.list_with_delimiter(self._backend)
        except StoreError:
            return frozenset()
        return frozenset(str(path).strip("/") for path in found["common_prefixes"])

    def _open(self, client: ClientConfig, retry: RetryConfig) -> LocalStore | S3Store:
        if self.local:
            root = Path(self.url.removeprefix("file://"))
            if root.parent == cache_home():
                private_directory(root.parent)
            return LocalStore(root, mkdir=True)
        place = self._location
        parts = urlsplit(place.url)
        prefix = place.url.partition(parts.netloc)[2].strip("/")
        client = {**client, **_client_options(place, client)}
        return S3Store(
            parts.netloc,
            prefix=prefix or None,
            config=s3_config(place, signed=self._keys is not None),
            client_options={**client, "allow_http": (place.endpoint or "").startswith("http://")},
            retry_config=retry,
            # a provider, since obstore would complete bare keys, or none, with this process's AWS_* variables
            credential_provider=self._keys or _nobody,
        )

    def _check_directory(self) -> None:
        root = Path(self.url.removeprefix("file://"))
        root.mkdir(parents=True, exist_ok=True)
        if not os.access(root, os.W_OK | os.X_OK):
            raise PermissionError(f"{root} is not writable")

    def _lapsed(self) -> str | None:
        return self._keys.lapsed() if self._keys else None

    @property
    def place(self) -> str:
        """What tells it from any other: its URL, and for S3 the server's."""
        return f"{self.url} at {self._location.endpoint}" if self._location.endpoint else self.url


def _client(stalled: float) -> ClientConfig:
    return {
        "connect_timeout": timedelta(seconds=5),
        "read_timeout": timedelta(seconds=stalled),
        "timeout": timedelta(days=30),
    }


def part_size(size: int, part: int) -> int:
    """How large the parts of an upload of ``size`` bytes are that asks for parts of ``part`` bytes."""
    return max(part, -(-size // _UPLOAD_PARTS))


def _seen(meta: ObjectMeta, key: str) -> Seen:
    return Seen(key, int(meta["size"]), (meta["e_tag"] or "").strip('"'), meta["last_modified"].timestamp())


def _nobody() -> S3Credential:
    """Whose requests are not signed: obstore does not ask for them."""
    return {"access_key_id": "", "secret_access_key": "", "token": None, "expires_at": None}


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


def _provider(place: Location, renew: Renew | None) -> Provider | None:
    if place.own_credentials and place.url.startswith("s3://"):
        fresh = own(place)
        return Provider(fresh(), fresh)
    return Provider(place.credentials, renew) if place.credentials else None
