"""What is counted for a cluster that has been lost is its error. Whole uploads: test_session.py."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from typing import Any

import pytest

from ray_decorator.core.errors import ClusterError
from ray_decorator.run.while_connected import WhileConnected


class Noted:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def expect(self, *arguments: Any) -> None:
        self.calls.append(("expect", *arguments))

    def advance(self, *arguments: Any) -> None:
        self.calls.append(("advance", *arguments))

    def doing(self, what: str) -> contextlib.AbstractContextManager[None]:
        self.calls.append(("doing", what))
        return contextlib.nullcontext()


def test_all_is_counted_until_the_cluster_is_lost_and_nothing_from_then_on() -> None:
    noted, lost = Noted(), Future[ClusterError]()
    progress = WhileConnected(noted, lost)
    progress.expect("uploading", 2, 10)
    progress.advance("uploading", 1, 5)
    with progress.doing("looking"):
        pass
    calls = [("expect", "uploading", 2, 10), ("advance", "uploading", 1, 5), ("doing", "looking")]
    assert noted.calls == calls
    lost.set_result(ClusterError("gone"))
    for count in (progress.expect, progress.advance):
        with pytest.raises(ClusterError, match=r"^gone$"):
            count("uploading", 1, 5)
    assert noted.calls == calls
