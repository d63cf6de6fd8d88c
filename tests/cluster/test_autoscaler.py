"""Without an autoscaler there is nothing to wait for. See test_capacity.py and test_ray_api.py for others."""

from __future__ import annotations

import pytest
import ray

from ray_decorator.cluster import autoscaler, ray_api
from ray_decorator.cluster.autoscaler import NodeType, node_types


@pytest.mark.ray
def test_a_private_ray_has_none(ray_session: str, caplog: pytest.LogCaptureFixture) -> None:
    assert node_types() == ()
    assert caplog.records == []


@pytest.mark.ray
def test_a_head_that_does_not_answer_may_have_one(
    ray_session: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(autoscaler, "_LOOK_SECONDS", 0.5)
    monkeypatch.setattr(ray_api, "ON_HEAD", {"a resource that no node has": 1})
    monkeypatch.setattr(ray_api, "_said", set())
    assert node_types() == (NodeType("", None, None),)
    assert "GetTimeoutError" in caplog.text and "wait, as if an autoscaler could add one" in caplog.text


def test_without_a_connection_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    assert node_types() == ()
