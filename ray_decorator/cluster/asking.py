"""Questions to a Ray that may never answer: its own calls wait for ever where it hangs, or is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

from ..core.errors import ClusterError

_T = TypeVar("_T")


def asked(ask: Callable[[], _T]) -> Future[_T]:
    """What ``ask`` returns or raises, in a thread of its own, which a program's end does not wait for."""
    answer: Future[_T] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as exc:
            answer.set_exception(exc)

    threading.Thread(target=run, name="ray-s3-asks", daemon=True).start()
    return answer


def within(seconds: float, ask: Callable[[], _T]) -> _T | None:
    """As ``ask`` answers; None where it does not in so many seconds. Raises what it raises."""
    try:
        return asked(ask).result(seconds)
    except TimeoutError:
        return None


def unless(lost: Future[ClusterError], ask: Callable[[], _T]) -> _T:
    """As ``ask`` answers, or raises; raises the error that is the result of ``lost`` where that is there before."""
    answer = asked(ask)
    either: list[Future[Any]] = [answer, lost]
    wait(either, return_when=FIRST_COMPLETED)
    if not answer.done():
        raise lost.result()
    return answer.result()
