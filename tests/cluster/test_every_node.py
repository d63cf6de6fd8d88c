"""Each node answers for itself, and none of them holds up the others."""

from __future__ import annotations

import os
import socket
import time

import pytest

from ray_decorator.cluster.every_node import ask_every_node, living_nodes

pytestmark = pytest.mark.ray


def where(argument: str) -> tuple[str, str, int]:
    return socket.gethostname(), argument, os.getpid()


def fails(argument: str) -> None:
    raise LookupError(f"nothing of {argument}")


def sleeps(argument: str) -> None:
    time.sleep(60)


def test_an_answer(ray_session: str) -> None:
    (node,) = living_nodes()
    (answer,) = ask_every_node(where, "this", name="a question", seconds=60)
    assert answer.error is None and answer.node["NodeID"] == node["NodeID"]
    assert answer.name == f"{node['NodeManagerHostname']}/{node['NodeID'][:6]}"
    assert answer.value[:2] == (socket.gethostname(), "this")
    assert answer.value[2] != os.getpid()


def test_a_question_that_fails_and_one_that_takes_too_long(ray_session: str) -> None:
    (answer,) = ask_every_node(fails, "that", name="a question", seconds=60)
    assert answer.error == "the question failed there: LookupError: nothing of that"
    (answer,) = ask_every_node(sleeps, "", name="a question", seconds=1)
    assert answer.error == "did not answer within 1 s" and answer.value is None
