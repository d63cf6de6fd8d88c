"""When credentials are renewed, and what an open store is given meanwhile."""

from __future__ import annotations

import time

import pytest

from ray_decorator.core.errors import StoreError
from ray_decorator.core.values.stores import Credentials
from ray_decorator.store.transport.renewal import Provider, renewal_time


def lasting(seconds: float, key: str = "key") -> Credentials:
    return Credentials(key, "secret", "token", time.time() + seconds)


@pytest.mark.parametrize(
    ("left", "before"), [(3 * 3600, 14 * 60), (900, 300), (30, 10), (3, 1), (1, 1), (-5, 1)]
)
def test_they_are_fetched_with_a_third_of_their_time_left(left: float, before: float) -> None:
    assert renewal_time(1000 + left, 1000) == 1000 + left - before


def test_those_that_do_not_end_are_not_asked_for() -> None:
    provider = Provider(Credentials("key", "secret", None), lambda: pytest.fail("nobody asks"))
    assert provider()["expires_at"] is None
    assert provider.lapsed() is None


def test_new_ones_are_taken_up_when_the_old_ones_end() -> None:
    provider = Provider(lasting(-1), lambda: lasting(3600, "new"))
    assert provider()["access_key_id"] == "new"
    assert provider.lapsed() is None


def test_where_there_are_no_new_ones_the_message_says_why() -> None:
    def renew() -> Credentials | None:
        raise StoreError("the login has ended")

    provider = Provider(lasting(-1), renew)
    assert provider()["access_key_id"] == "key", "only the server knows its own clock"
    assert "and were not renewed: the login has ended" in (provider.lapsed() or "")
    assert "secret" not in repr(provider)
