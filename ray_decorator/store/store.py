"""A store is a bucket's prefix or a directory, and a few verbs.

boto3 decides who we are (identity.py); obstore moves the bytes, on the driver and on workers alike. Keys are
relative to the store's own URL. Secrets are in no repr, message or log.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from ..core.errors import StoreDeniedError, StoreError, StoreUnreachableError
from ..core.machine.network import is_loopback
from ..core.values.contents import Content
from ..core.values.stores import Location
from .credentials import own
from .dvc_directory import make_room, protect
from .transport.backends import Backends
from .transport.faults import Faults, code_of, first_line, is_not_of_s3
from .transport.incoming import Incoming
from .transport.patience import Patience, is_of_completion, is_passing
from .transport.renewal import Provider, Renew
from .transport.sending import Chunks, Sending
from .transport.uplink import FIRST, Uplink

if TYPE_CHECKING:
    from obstore import Bytes, GetResult, ObjectMeta
    from typing_extensions import Buffer

OURS = "ray_s3"
"""The folder of a store in which lies all that is ours alone."""

_PROBE_KEY = f"{OURS}/probe"
_PAGE = 1000  # what S3 lists at most in one request
_THREADS = 32  # a request takes a real S3 some 20 to 50 ms, and takes us well under one
_FILE_PIECE = 8 * 1024 * 1024
_PARTS = 8
_NEAR_PARTS = min(_PARTS, max(2, os.cpu_count() or 1))  # more than cores only take memory, and caches
_LOCAL_THREADS = min(8, 2 * (os.cpu_count() or 1))


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

    def __init__(self, location: Location, renew: Renew | None = None, beside: Store | None = None) -> None:
        """As `open_store`. ``beside`` is one on the same server, which the same line leads to."""
        self._location, self._renew, self._kept_as = location, renew, location.kept_as
        self._areas: dict[str, Store] = {}
        self._keys = _provider(location, renew)
        self.url = location.url
        self.local = location.url.startswith("file://")
        self.threads = _LOCAL_THREADS if self.local else location.requests.threads or _THREADS
        """How many requests it is worth to have under way at once."""
        near = self.local or is_loopback(urlsplit(location.endpoint or "").hostname or "")
        self.parts = _NEAR_PARTS if near else _PARTS
        """The same for the parts of one large object."""
        self.ranges = True
        """Whether the server answers ranged reads as it should; set to False by who finds out (rclone)."""
        self.patience: Patience = beside.patience if beside else Patience(self.place, location.patience)
        self.uplink: Uplink = beside.uplink if beside else self._line()
        self._faults = Faults(self.place, location.region, self._lapsed)
        self._backends = Backends(location, self._keys)
        self._sending = Sending(self.place, self._backends, self._faults, self.patience, self.uplink)
        with self._faults.translated(""):
            self._backend = self._backends.usual

    def of(self, content: Content) -> Store:
        """The part of the store that keeps the content: the store itself, or an area below ``ray_s3/`` like it."""
        return self.area(content.area) if content.area else self

    def area(self, name: str) -> Store:
        """The store at ``ray_s3/<name>``, which is ours alone."""
        if name not in self._areas:
            place = replace(self._location, url=f"{self.url}/{OURS}/{name}")
            self._areas.setdefault(name, Store(place, self._renew, self))
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
                found = obstore.get(self._backends.quick(), _PROBE_KEY)
                if str(found.attributes.get("Content-Type")).startswith("text/html"):
                    raise self._no_s3("a web page")
            except (BaseError, FileNotFoundError) as exc:
                if is_not_of_s3(exc):
                    raise self._no_s3(first_line(exc)) from exc
                is_there = isinstance(exc, FileNotFoundError) and code_of(exc) != "NoSuchBucket"
                is_denied = isinstance(exc, PermissionDeniedError | UnauthenticatedError)
                if not is_there and not (is_denied and code_of(exc) == "AccessDenied"):
                    raise

    def _no_s3(self, answer: str) -> StoreUnreachableError:
        return StoreUnreachableError(
            f"{self.place} answers, but not as S3 does: {answer}. Check AWS_ENDPOINT_URL: a server's S3 may have "
            "another port than its web pages, and a proxy on the way may answer in its place"
        )

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

    def get_range(self, key: str, start: int, stop: int, most: int) -> Iterator[Buffer]:
        """The bytes from ``start`` to ``stop`` of an object that is there, in pieces of about ``most``.

        Raises MissingObjectError where it is gone meanwhile, CorruptObjectError where it is shorter now.
        """
        # of a file, obstore's streams have tiny pieces
        pieces = self._of_file(key, start, stop) if self.local else self._streamed(key, start, stop, most)
        left = stop - start
        for piece in pieces:
            left -= len(memoryview(piece))
            yield piece
            if left <= 0:  # what goes wrong behind it is nobody's concern, and there is no rest to ask for
                return
        raise self._faults.replaced(key)

    def _streamed(self, key: str, start: int, stop: int, most: int) -> Iterator[Buffer]:
        def ask(given: int = 0) -> GetResult:
            return obstore.get(self._backend, key, options={"range": (start + given, stop)})

        def attempt() -> Incoming:
            with self._faults.reading(key):
                return Incoming(key, ask(), ask, self._faults, self.patience, rest=ask)

        return self.patience.keep(attempt).chunks(most)

    def _of_file(self, key: str, start: int, stop: int) -> Iterator[Buffer]:
        def piece(at: int) -> Bytes:
            with self._faults.reading(key):
                return obstore.get_range(self._backend, key, start=at, length=min(_FILE_PIECE, stop - at))

        for at in range(start, stop, _FILE_PIECE):
            yield self.patience.keep(partial(piece, at))

    def put(self, key: str, data: bytes) -> None:
        """Write an object in one request."""
        self._upload(key, lambda: self._sending.whole(key, data))

    def put_parts(self, key: str, chunks: Chunks, size: int, part: int, window: int) -> None:
        """Write an object of ``size`` bytes from its chunks, in parts of ``part`` bytes, ``window`` at once.

        An exception that the chunks raise aborts the upload: the object does not come to be.
        """
        before = self.look(key)
        refused: list[float] = []  # parts that were taken, and became no object, are no progress

        def attempt() -> None:
            try:
                self._sending.in_parts(key, chunks, size, part, window)
            except StoreError as exc:
                if is_of_completion(exc):
                    refused.append(self.uplink.progress)
                else:
                    refused.clear()
                if isinstance(exc, StoreDeniedError | StoreUnreachableError):
                    raise
                # where the answer to the last request is lost, obstore repeats it, and finds the upload gone
                now = self.look(key)
                if now is None or now.size != size or now == before:
                    raise

        self._upload(key, attempt, lambda: refused[0] if refused else self.uplink.progress)

    def _upload(
        self, key: str, attempt: Callable[[], None], progress: Callable[[], float] | None = None
    ) -> None:
        if self._kept_as is not None:
            with self._faults.translated(key):
                make_room(self._kept_as, self.file_of(key))
        self.patience.keep(attempt, progress=progress or (lambda: self.uplink.progress))
        if self._kept_as is not None:
            protect(self.file_of(key))

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
        keys = 0
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
                keys += len(page)
                yield page
        if keys and keys % _PAGE == 0 and not self.local:
            yield from self._beyond(prefix, last)

    def _beyond(self, prefix: str, last: str | None) -> Iterator[SeenPage]:
        """Pages after ``last``, where a full page has none after it: so it is where a server knows ListObjects alone.

        Such a one does not tell how to go on, or heed where to begin: obstore takes its first page for all.
        """
        page = self.patience.keep(lambda: next(self._pages(prefix, last), None))
        if page and last is not None and page[0].key <= last:
            raise StoreError(
                f"{self.place} lists no more than {_PAGE} objects: its server does not know ListObjectsV2"
            )
        if page:
            yield page

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

    def _line(self) -> Uplink:
        return Uplink(self.place, self._location.patience, sys.maxsize if self.local else FIRST)

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


def _seen(meta: ObjectMeta, key: str) -> Seen:
    return Seen(key, int(meta["size"]), (meta["e_tag"] or "").strip('"'), meta["last_modified"].timestamp())


def _provider(place: Location, renew: Renew | None) -> Provider | None:
    if place.own_credentials and place.url.startswith("s3://"):
        fresh = own(place)
        return Provider(fresh(), fresh)
    return Provider(place.credentials, renew) if place.credentials else None
