"""The directories above a path."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from ray_decorator.core.paths import parents, upwards


@pytest.mark.parametrize("path", ["/a/b/c", "/a", "/", "/a b/ü.d"])
def test_as_pathlib_has_them(path: str) -> None:
    assert list(parents(path)) == [str(parent) for parent in PurePosixPath(path).parents]


def test_the_path_itself_and_those_above_it_up_to_where_it_stops() -> None:
    assert list(upwards("/a/b/c")) == ["/a/b/c", "/a/b", "/a", "/"]
    assert list(upwards("/a/b/c", {"/a", "/"})) == ["/a/b/c", "/a/b"]
    assert list(upwards("/", {"/"})) == []
