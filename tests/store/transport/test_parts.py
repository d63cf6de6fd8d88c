"""One attempt at an upload in parts, with a store that takes them as it likes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ray_decorator.core.errors import StoreUnreachableError
from ray_decorator.store.transport.parts import Faster, PartsUpload
from ray_decorator.store.transport.patience import Patience
from ray_decorator.store.transport.uplink import Uplink

MIB = 1 << 20


def upload(wanted: int | None = None, patience: float = 180) -> PartsUpload:
    return PartsUpload(
        "s3://there", Patience("s3://there", patience), Uplink("s3://there", patience), 5 * MIB, 2, wanted
    )


def test_larger_pieces_are_cut_to_parts() -> None:
    got: list[bytes] = []
    upload().run(got.extend, [b"a" * 8 * MIB, b"b" * 2 * MIB], 10)
    assert [len(part) for part in got] == [5 * MIB, 3 * MIB, 2 * MIB] and b"".join(got).count(b"a") == 8 * MIB


def test_its_own_error_is_raised() -> None:
    def put(pieces: Iterator[bytes]) -> None:
        raise ValueError("of the pieces")

    with pytest.raises(ValueError, match="of the pieces"):
        upload().run(put, [], 10)


def test_what_stopped_the_pieces_is_raised_though_the_store_never_answers_the_abort() -> None:
    answered = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"x"
        raise ValueError("the file changed")

    def put(given: Iterator[bytes]) -> None:
        try:
            list(given)
        finally:
            answered.wait(60)

    with pytest.raises(ValueError, match="the file changed"):
        upload(patience=2).run(put, pieces(), 0.1)
    answered.set()


def test_a_line_that_bears_more_is_told() -> None:
    with pytest.raises(Faster):
        upload(wanted=8).run(lambda pieces: list(pieces).clear(), [b"x" * 5 * MIB] * 4, 10)


def test_what_takes_nothing_is_given_up_and_gets_nothing_later() -> None:
    go_on, end = threading.Event(), list[BaseException]()

    def put(pieces: Iterator[bytes]) -> None:
        next(pieces)
        go_on.wait(60)
        try:
            next(pieces)
        except StoreUnreachableError as exc:
            end.append(exc)

    with pytest.raises(
        StoreUnreachableError, match=r"nobody answers for s3://there \(of an upload, no part was"
    ):
        upload(patience=2).run(put, [b"x", b"y"], 0.1)
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "ray-s3-upload":
            thread.join(10)
    assert "was given up" in str(end[0])
