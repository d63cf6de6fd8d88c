"""A job asks the driver for the newest credentials."""

from __future__ import annotations

import json
import logging
import time

import pytest
import ray

from ray_decorator.core.values.stores import Credentials
from ray_decorator.job.aws.fresh_credentials import ask

pytestmark = pytest.mark.ray


@ray.remote(num_cpus=0)
class Answers:
    def __init__(self, packed: str) -> None:
        self._packed = packed

    def newest(self) -> str:
        return self._packed


@pytest.mark.parametrize("told", [None, Credentials("key", "secret", "token", 7.0)])
def test_what_the_driver_has_told(ray_session: str, told: Credentials | None) -> None:
    packed = "" if told is None else json.dumps([told.access_key, told.secret_key, told.token, told.expires])
    broker = Answers.remote(packed)
    assert ask(broker) == told
    ray.kill(broker)


def test_a_broker_that_is_gone_gives_nothing(
    ray_session: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Answers.remote("")
    assert ask(broker) is None
    ray.kill(broker)  # which returns before it is dead
    with pytest.raises(ray.exceptions.RayActorError):
        for _ in range(200):
            ray.get(broker.newest.remote(), timeout=20)
            time.sleep(0.05)
    monkeypatch.setattr(logging.getLogger("ray_decorator.job.aws.fresh_credentials"), "disabled", False)
    with caplog.at_level(logging.WARNING, "ray_decorator.job.aws.fresh_credentials"):
        assert ask(broker) is None
    assert "Nobody answers with new credentials" in caplog.text
