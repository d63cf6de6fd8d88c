"""What travels between supervisor and runner is frozen, arrives as it was, and shows no secret."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from ray_decorator.core.values.stores import Credentials
from ray_decorator.node.messages import AskCredentials, Finished, NestedRay, NewCredentials, Request

REQUEST = Request("run", b"func", b"job", b"store", b"the secret", {"KEY": "secret"}, "worker1/abc", True)


@pytest.mark.parametrize(
    "message",
    [
        REQUEST,
        NestedRay(),
        AskCredentials(),
        NewCredentials(Credentials("key", "the secret")),
        Finished(b"receipt"),
    ],
)
def test_a_message_arrives_as_it_was(message: object) -> None:
    assert pickle.loads(pickle.dumps(message)) == message
    assert "secret" not in repr(message)


def test_messages_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        REQUEST.verb = "rescue"  # type: ignore[misc]
