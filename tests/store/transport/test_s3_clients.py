"""Clients of S3 follow the user's AWS settings: our requests go where boto3's go."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import boto3
import obstore
import pytest
import servers
from obstore.store import S3Store

from ray_decorator.core.s3_requests import S3Clients
from ray_decorator.store.identity import locate
from ray_decorator.store.store import open_store
from ray_decorator.store.transport.s3_clients import s3_config, settings_of

VIRTUAL = "[default]\nregion = eu-west-7\ns3 =\n  addressing_style = virtual\n"


def configure(text: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (directory / "config").write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(directory / "config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")


def where(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc, parts.path


def signed(store: str) -> str:
    """Where our own client reads the store's object k."""
    backend = open_store(locate(store))._backend
    assert isinstance(backend, S3Store)
    return obstore.sign(backend, "GET", "k", timedelta(minutes=1))


@pytest.mark.parametrize(
    ("bucket", "endpoint", "expected"),
    [
        ("bucket", "http://oss.example.com:8000", "http://bucket.oss.example.com:8000/x/k"),
        ("bucket", "https://oss.example.com", "https://bucket.oss.example.com/x/k"),
        ("bucket", None, "https://bucket.s3.eu-west-7.amazonaws.com/x/k"),
        ("bucket", "http://127.0.0.1:8000", "http://127.0.0.1:8000/bucket/x/k"),
        ("a.bucket", "https://oss.example.com", "https://oss.example.com/a.bucket/x/k"),
    ],
)
def test_an_object_is_asked_for_where_boto3_asks_for_it(
    bucket: str, endpoint: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(VIRTUAL, tmp_path, monkeypatch)
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    theirs = boto3.session.Session().client("s3")
    url = theirs.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "x/k"})
    assert where(signed(f"s3://{bucket}/x")) == where(url) == where(expected)


def test_a_store_whose_buckets_are_hosts(
    moto: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(f"{VIRTUAL}endpoint_url = http://s3.amazonaws.com\n", tmp_path, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setenv("HTTP_PROXY", moto.endpoint)  # in place of a DNS that knows the bucket's host
        store = open_store(locate(f"s3://{servers.BUCKET}/virtual"))
        store.check()
        store.area("code").put("k", b"bytes")
        found = store.get("ray_s3/code/k")
        assert found is not None and bytes(found.read()) == b"bytes"
        assert [row for page in store.list("ray_s3") for row in page] == [("ray_s3/code/k", 5)]
    by_path = boto3.session.Session().client("s3", endpoint_url=moto.endpoint)
    assert by_path.head_object(Bucket=servers.BUCKET, Key="virtual/ray_s3/code/k")["ContentLength"] == 5


@pytest.mark.parametrize("style", ["path", "auto", ""])
def test_what_is_not_asked_for_is_as_ever(
    style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = f"s3 =\n  addressing_style = {style}\n" if style else ""
    configure(f"[default]\nregion = eu-west-7\n{section}", tmp_path, monkeypatch)
    assert where(signed("s3://bucket/x")) == where("https://s3.eu-west-7.amazonaws.com/bucket/x/k")


@pytest.mark.parametrize(
    ("endpoint", "settings", "expected"),
    [
        (None, "", True),
        ("https://s3.lab:9000", "", True),
        ("https://s3.lab:9000", "s3 =\n  payload_signing_enabled = true\n", False),
        ("http://s3.lab:9000", "", False),
        ("http://127.0.0.7:9000", "", True),
        ("http://[::1]:9000", "", True),
        ("http://localhost:9000", "", True),
        ("http://localhost:9000", "s3 =\n  payload_signing_enabled = true\n", False),
        ("http://localhost.lab:9000", "", False),
    ],
)
def test_what_nobody_can_change_on_the_way_is_not_hashed_for_the_signature(
    endpoint: str | None, settings: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(f"[default]\nregion = eu-west-7\n{settings}", tmp_path, monkeypatch)
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    place = locate("s3://bucket/x")
    assert s3_config(place, signed=True)["unsigned_payload"] is expected
    unverified = replace(place, requests=replace(place.requests, verify=False))
    over_http = (endpoint or "").startswith("http://")
    assert s3_config(unverified, signed=True)["unsigned_payload"] is (expected and over_http)


def test_what_travels_is_what_the_user_has_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure("[default]\nregion = eu-west-7\n", tmp_path, monkeypatch)
    assert locate("s3://bucket").clients == S3Clients()
    text = f"{VIRTUAL}  payload_signing_enabled = true\n  unknown = secret\nretry_mode = adaptive\nmax_attempts = 7\n"
    configure(text, tmp_path, monkeypatch)
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    assert locate("s3://bucket").clients == S3Clients(
        (
            ("max_attempts", "7"),
            ("request_checksum_calculation", "when_required"),
            ("retry_mode", "adaptive"),
        ),
        (("addressing_style", "virtual"), ("payload_signing_enabled", "true")),
    )


def test_an_older_botocore_has_less_to_say() -> None:
    told = SimpleNamespace(retries=None, s3=None, tcp_keepalive=True)
    assert settings_of(told) == S3Clients((("tcp_keepalive", "true"),))
