"""Who the driver is to S3: what is secret in it is not shown."""

from __future__ import annotations

from ray_decorator.core.options.s3_account import S3Account
from ray_decorator.core.options.settings import Settings
from ray_decorator.core.values.stores import Credentials


def test_no_repr_shows_a_key() -> None:
    account = S3Account(
        "the DVC remote 'store'", credentials=Credentials("AKIAKEY", "hushhush", "tokentoken")
    )
    settings = Settings("local", "s3://bucket", False, account=account)
    for secret in ("AKIAKEY", "hushhush", "tokentoken"):
        assert secret not in repr(settings) + str(account)


def test_accounts_with_other_keys_differ() -> None:
    one, other = (S3Account("x", credentials=Credentials("key", secret)) for secret in ("a", "b"))
    assert one != other and len({one, other}) == 2
