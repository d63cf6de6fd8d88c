"""Where a store is, and who asks it: never shown."""

from __future__ import annotations

import pytest

from ray_decorator.core.values.stores import Credentials, Location


@pytest.mark.parametrize(
    "value",
    [
        Credentials("secret", "secret", "secret", 3.0),
        Location("s3://b", ca_bundle="secret", credentials=Credentials("secret", "secret")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_secrets_are_never_shown(value: object) -> None:
    assert "secret" not in repr(value)
