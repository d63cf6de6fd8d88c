"""What Ray is told by variables, where the user has not set them."""

from __future__ import annotations

import os

import pytest

from ray_decorator.cluster.switches import set_switches


def test_switches_that_the_user_has_set_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_gcs_rpc_server_reconnect_timeout_s", "RAY_CLIENT_RECONNECT_GRACE_PERIOD"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_DEDUP_LOGS", "1")
    set_switches(1000.0)
    assert os.environ["RAY_DEDUP_LOGS"] == "1"
    assert os.environ["RAY_gcs_rpc_server_reconnect_timeout_s"] == "2000"  # noqa: SIM112
    assert os.environ["RAY_CLIENT_RECONNECT_GRACE_PERIOD"] == "1000"
