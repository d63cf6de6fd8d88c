"""The doctor's look at credentials and at the store: a probe object is written there, read back and removed."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..cluster.connecting.connection import Connection
from ..cluster.every_node import living_nodes
from ..cluster.ray_cluster import check_store_is_shared
from ..core.errors import (
    BucketNotFoundError,
    ClusterError,
    RayS3Error,
    StoreDeniedError,
    StoreError,
    StoreUnreachableError,
)
from ..core.options.settings import Settings
from ..core.units import human_seconds
from ..core.values.stores import Location
from ..store.identity import identify
from ..store.store import Store, open_store
from ..store.transport.renewal import clock
from .findings import Finding, Status


@dataclass(frozen=True, slots=True)
class Places:
    """The store as this process opens it, and as it travels to workers."""

    here: Location
    travels: Location


def credentials(settings: Settings) -> tuple[Finding, Places]:
    """Which ones boto3 finds for the store, and how long they are good. Raises as `identify` does."""
    identity = identify(settings.store_url, credentials=settings.credentials, account=settings.account)
    places = Places(identity.here, identity.location)
    here = places.here
    if here.credentials is None:
        return Finding("credentials", "ok", ("none are needed: the store is a directory",)), places
    profile = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    facts = (
        f"boto3 found some: {identity.provider}" + (f", profile {profile}" if profile else ""),
        f"region {here.region}, endpoint {here.endpoint}",
        _until_when(here),
        "they go with each job, and are refreshed for those that outlive them"
        if settings.credentials == "driver"
        else "they stay here: each node finds its own (credentials: worker)",
    )
    return Finding("credentials", "ok", facts), places


def _until_when(place: Location) -> str:
    assert place.credentials is not None
    expires = place.credentials.expires
    if expires is not None:
        left = max(0.0, expires - time.time())
        return f"good until {clock(expires)} (in {human_seconds(left)}); boto3 renews them"
    if place.credentials.token:
        return "temporary (they have a session token); boto3 does not know until when"
    return "they do not expire"


def none_needed(settings: Settings, connection: Connection) -> tuple[Finding, None]:
    """Where no store is named: whether every node sees the driver's files. Raises as `check_store_is_shared` does."""
    try:
        connection.wait()
    except ClusterError:  # which is Ray's own finding
        return Finding("store", "warning", ("not checked: none is needed if Ray, see below, is here",)), None
    check_store_is_shared(settings, living_nodes())
    return Finding("store", "ok", ("none is needed: jobs read and write your files where they are",)), None


def store(place: Location) -> tuple[Finding, None]:
    """Whether the store is there, and takes and gives bytes."""
    try:
        opened = open_store(place)
        opened.check()
        status, facts = _probe(opened)
    except StoreError as exc:
        return Finding("store", "wrong", (place.url, str(exc)), cure(exc, place)), None
    return Finding("store", status, (place.url, *facts)), None


def _probe(store: Store) -> tuple[Status, list[str]]:
    """Write, read back and delete an object; how long each took."""
    key, data = f"ray_s3/doctor-{uuid.uuid4().hex}", os.urandom(1024)
    spent: list[str] = []
    read = b""
    try:
        with _timed("write", spent):
            store.put(key, data)
        with _timed("read", spent):
            incoming = store.get(key)
            read = bytes(incoming.read()) if incoming else b""
    finally:
        left = _removed(store, key, spent)
    if read != data:
        what = f"{len(read)} bytes, which are not those" if read else "nothing"
        raise StoreError(f"an object of {len(data)} bytes was written, and {what} came back")
    facts = [", ".join(spent)]
    return ("warning", [*facts, left]) if left else ("ok", facts)


def _removed(store: Store, key: str, spent: list[str]) -> str | None:
    try:
        with _timed("delete", spent):
            store.delete(key)
    except StoreError as exc:
        return f"{key} stays there (jobs need no right to delete): {exc}"
    return None


@contextlib.contextmanager
def _timed(verb: str, spent: list[str]) -> Iterator[None]:
    since = time.perf_counter()
    yield
    spent.append(f"{verb} {(time.perf_counter() - since) * 1000:.0f} ms")


def cure(error: RayS3Error, place: Location | None = None) -> str | None:
    """A command or setting that fixes the error, beyond what its message says; None where there is none."""
    endpoint = place.endpoint if place else None
    option = f" --endpoint-url {endpoint}" if endpoint and "amazonaws.com" not in endpoint else ""
    if isinstance(error, BucketNotFoundError) and place:
        return f"aws s3 mb s3://{urlsplit(place.url).netloc}{option}\nor set s3_base_path to one that exists"
    if isinstance(error, StoreDeniedError) and place and place.url.startswith("s3://"):
        return f"see who you are there: aws sts get-caller-identity{option}; choose by AWS_PROFILE=…"
    if isinstance(error, StoreDeniedError):
        return "aws configure, or aws sso login, or export AWS_PROFILE=…"
    if isinstance(error, StoreUnreachableError):
        return (
            f"curl -I {endpoint} shows what this machine sees; set AWS_ENDPOINT_URL to the server's address"
        )
    return None
