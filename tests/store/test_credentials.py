"""A node's own credentials: found as boto3 finds them there, once a process, and kept fresh."""

from __future__ import annotations

import pickle
import socket
import time

import pytest
import servers
from issuing import Issuer, issuer, issuing_server
from store_fixtures import use

from ray_decorator.core.errors import StoreDeniedError
from ray_decorator.store.credentials import own
from ray_decorator.store.identity import identify
from ray_decorator.store.store import open_store

__all__ = ["issuer", "issuing_server"]

URL = f"s3://{servers.BUCKET}/credentials"


class TestTheWorkersOwn:
    def test_a_node_that_has_some(self, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
        location = identify(URL, credentials="worker").location
        monkeypatch.delenv("AWS_PROFILE")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "issuedkey030")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "issuedsecret030")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        monkeypatch.setenv("AWS_REGION", "eu-north-1")
        store = open_store(pickle.loads(pickle.dumps(location)))
        store.put("key", b"x")
        assert issuer.seen[-1] == ("issuedkey030", None, 200)

    def test_a_nodes_own_are_renewed_there(self, issuer: Issuer) -> None:
        store = open_store(identify(URL, credentials="worker").location)
        for _ in range(5):
            store.put("key", b"x")
            time.sleep(0.6)
        assert {status for _, _, status in issuer.seen} == {200}
        assert len({key for key, _, _ in issuer.seen}) >= 2

    def test_they_are_looked_for_once_a_process(self, issuer: Issuer) -> None:
        issuer.lasting(3600)
        location = identify(URL, credentials="worker").location
        assert own(location)() == own(location)()
        assert len(issuer.issued()) == 2  # the driver's, and the node's

    def test_a_node_that_has_none(self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
        use(rclone, monkeypatch)
        location = identify(URL, credentials="worker").location
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(StoreDeniedError) as info:
            open_store(location)
        assert str(info.value) == (
            f"credentials: worker is set, and node {socket.gethostname()} has no AWS credentials for {URL}: "
            "give it an instance role or AWS_* variables, or set credentials: driver"
        )
