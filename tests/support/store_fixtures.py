"""Stores to test on: a real S3 server of each kind, and a directory."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import servers

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.core.values.stores import Location
from ray_decorator.store import download, upload
from ray_decorator.store.identity import locate
from ray_decorator.store.store import Store, open_store
from ray_decorator.store.transport import ranges
from ray_decorator.store.transport.uplink import LEAST

FaultyProxy = Callable[..., AbstractContextManager[tuple[servers.Server, servers.Requests]]]
"""What the fixture ``faulty_proxy`` gives."""


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    with servers.rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[servers.Server]:
    with servers.moto() as server:
        yield server


@pytest.fixture(params=["rclone", "moto", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store of each kind."""
    if request.param == "file":
        return open_store(locate((tmp_path / "the store").as_uri()))
    server: servers.Server = request.getfixturevalue(request.param)
    return s3_store(server, monkeypatch)


@pytest.fixture
def faulty_proxy() -> FaultyProxy:
    """`servers.counting`, for faults that are waited for, or many. Its name marks the tests that use it."""
    return servers.counting


@pytest.fixture
def hashes(tmp_path: Path) -> HashCache:
    return HashCache(tmp_path / "cache" / "hashes.sqlite")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files above 5 MiB go up in parts of it, the least that S3 takes; those above 1 MiB come down as streams.

    So what only large files show needs less time; `test_holding` sends some in parts of the usual size.
    """
    monkeypatch.setattr(upload, "_WHOLE", LEAST)
    monkeypatch.setattr(upload, "_PART", LEAST)
    monkeypatch.setattr(download, "_WHOLE", 1 << 20)
    monkeypatch.setattr(ranges, "_SHORTEST", 1 << 20)


_NOBODY = Path(__file__).with_name("nobody.pem")
"""One certificate, of an authority whose key nobody has."""


def s3_store(server: servers.Server, monkeypatch: pytest.MonkeyPatch, url: str = "") -> Store:
    """A store at an S3 server, empty unless ``url`` says which, opened as a user would."""
    use(server, monkeypatch)
    told = tuple(sorted(item for item in os.environ.items() if item[0].startswith(("AWS_", "RAY_S3_"))))
    url = url or f"s3://{servers.BUCKET}/{uuid.uuid4().hex}"
    return open_store(replace(_located(told), url=url))


@functools.cache
def _located(told: tuple[tuple[str, str], ...]) -> Location:
    """As the environment tells; once for each server, since boto3 needs a tenth of a second to say it."""
    return locate(f"s3://{servers.BUCKET}")


def use(server: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment for a server, and nothing of this machine's own."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # obstore reads all certificates of the machine for each client, also for http: 5 ms of CPU time
    monkeypatch.setenv("SSL_CERT_FILE", str(_NOBODY))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
