"""What is kept from others is never shown."""

from __future__ import annotations

import pickle

from ray_decorator.core.values.inherited import Inherited, Variable
from ray_decorator.core.values.private import Private
from ray_decorator.core.values.stores import Credentials


def test_it_travels_and_nothing_of_it_is_shown() -> None:
    private = Private(
        Credentials("secret", "secret"), Inherited({"TOKEN": Variable("secret")}, ("--key=secret",))
    )
    assert "secret" not in repr(private)
    assert pickle.loads(pickle.dumps(private)) == private
