"""What a Ray that hangs is asked keeps nobody."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from ray_decorator.cluster.asking import asked, unless, within
from ray_decorator.core.errors import ClusterError

SECONDS = 10.0


def fails() -> int:
    raise OSError("no")


def test_an_answer_and_an_error_come_back() -> None:
    nothing: Future[ClusterError] = Future()
    assert asked(lambda: 1).result(SECONDS) == within(SECONDS, lambda: 1) == unless(nothing, lambda: 1) == 1
    for ask in (
        lambda: asked(fails).result(SECONDS),
        lambda: within(SECONDS, fails),
        lambda: unless(nothing, fails),
    ):
        with pytest.raises(OSError, match=r"^no$"):
            ask()


def test_who_does_not_answer_is_not_waited_for() -> None:
    ended, lost = threading.Event(), Future[ClusterError]()
    assert within(0.05, ended.wait) is None
    threading.Timer(0.05, lost.set_result, [ClusterError("gone")]).start()
    with pytest.raises(ClusterError, match=r"^gone$"):
        unless(lost, lambda: ended.wait(SECONDS))
    assert not ended.is_set()
    ended.set()
