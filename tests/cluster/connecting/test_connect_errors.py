"""Why a connection to Ray has failed is said in three lines, the last of which says what to do."""

from __future__ import annotations

import pytest

from ray_decorator.cluster.connecting.connect_errors import advice, explained, is_about_arguments, said
from ray_decorator.core.options.settings import Options


@pytest.mark.parametrize(
    ("address", "first"),
    [
        ("local", "A private Ray on this machine did not start, in two tries."),
        ("auto", "A Ray on this machine can neither be connected to nor started."),
        ("ray://head:10001", "Cannot connect to Ray at ray://head:10001."),
    ],
)
def test_each_kind_of_address_has_its_words(address: str, first: str) -> None:
    told = explained(address, RuntimeError("two\n  lines"))
    assert told.splitlines() == [first, "Ray says: RuntimeError: two lines", advice(address)]


@pytest.mark.parametrize(
    ("address", "word"),
    [("local", "free -h"), ("ray://head:1", "Ray Client's, 10001"), ("head:1", "the GCS's, 6379")],
)
def test_what_to_look_at(address: str, word: str) -> None:
    assert word in advice(address)


def test_what_ray_says_is_one_line() -> None:
    assert said(ValueError("a\n\tb")) == "ValueError: a b"


def test_arguments_are_to_blame_only_where_there_are_some() -> None:
    given, none = (Options(ray_init_kwargs=each).resolve() for each in ({"cpus": 1}, {}))
    for error in (TypeError("x"), RuntimeError("Unknown keyword argument(s): cpus")):
        assert is_about_arguments(error, given) and not is_about_arguments(error, none)
    assert not is_about_arguments(RuntimeError("gone"), given)
