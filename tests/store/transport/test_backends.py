"""The time-outs of a store's clients: what a request may take, as obstore was told."""

from __future__ import annotations

from pathlib import Path

import pytest
from obstore.store import LocalStore, S3Store

from ray_decorator.core.s3_requests import S3Requests
from ray_decorator.core.values.stores import Location
from ray_decorator.store.transport.backends import Backends


def backends(patience: float, **requests: float) -> Backends:
    place = Location(
        "s3://bucket/prefix", "http://127.0.0.1:9", patience=patience, requests=S3Requests(**requests)
    )
    return Backends(place, None)


def stalled(backend: LocalStore | S3Store) -> object:
    assert isinstance(backend, S3Store) and backend.client_options is not None
    return backend.client_options["read_timeout"]


@pytest.mark.parametrize(
    ("patience", "expected"),
    [(180, (90, "30s", "1m", "1m 30s", "1m 30s")), (20, (10, "10s", "10s", "10s", "10s"))],
)
def test_no_request_has_more_than_half_of_the_patience(patience: float, expected: tuple[object, ...]) -> None:
    made = backends(patience)
    seen = [stalled(each) for each in (made.usual, made.small, made.whole, made.patient)]
    assert (made.timeout, *seen) == expected


def test_a_longer_time_out_of_aws_settings_holds_within_that() -> None:
    assert stalled(backends(180, read_timeout=70).usual) == "1m 10s"
    assert stalled(backends(180, read_timeout=700).usual) == "1m 30s"
    assert stalled(backends(180, read_timeout=7).whole) == "1m 30s"


def test_a_directory_is_made_with_what_is_written_to_it(tmp_path: Path) -> None:
    made = Backends(Location((tmp_path / "store").as_uri()), None)
    assert made.local and isinstance(made.usual, LocalStore) and (tmp_path / "store").is_dir()
