"""What the doctor says of credentials and of a store, with real servers."""

from __future__ import annotations

import pytest
import servers
from store_fixtures import use

from ray_decorator.core.errors import ClusterError, StoreDeniedError
from ray_decorator.core.options.settings import Options, Settings
from ray_decorator.doctor import store_checks

_NOBODY = "http://127.0.0.1:1"


def settings(url: str) -> Settings:
    return Options(ray_address="127.0.0.1:1", s3_base_path=url).resolve()


def found(url: str) -> store_checks.Places:
    return store_checks.credentials(settings(url))[1]


def test_a_session_token_is_told_from_keys_that_stay(
    rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(rclone, monkeypatch)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token")
    said = store_checks.credentials(settings("s3://bucket"))[0]
    assert "temporary (they have a session token); boto3 does not know until when" in said.facts
    assert "a-session-token" not in repr(said)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2999-01-01T00:00:00Z")
    said = store_checks.credentials(settings("s3://bucket"))[0]
    assert [
        fact for fact in said.facts if fact.startswith("good until 299") and "h" in fact.split(" (in ")[1]
    ]


def test_a_bucket_that_is_not_there(rclone: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    use(rclone, monkeypatch)
    said, _ = store_checks.store(found("s3://missing/x").here)
    assert said.status == "wrong" and said.facts[0] == "s3://missing/x" and "does not exist" in said.facts[1]
    assert str(said.cure).startswith(f"aws s3 mb s3://missing --endpoint-url {rclone.endpoint}\n")


def test_a_server_that_nobody_answers_for(rclone: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    use(rclone, monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL", _NOBODY)
    said, _ = store_checks.store(found("s3://missing/x").here)
    assert said.status == "wrong" and "nobody answers for s3://missing/x" in said.facts[1]
    assert str(said.cure).startswith(f"curl -I {_NOBODY} ") and "AWS_ENDPOINT_URL" in str(said.cure)


def test_what_fixes_an_error() -> None:
    assert str(store_checks.cure(StoreDeniedError("no credentials"))).startswith("aws configure")
    assert store_checks.cure(ClusterError("not the store's")) is None
