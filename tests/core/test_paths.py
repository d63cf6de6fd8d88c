"""The directories above a path."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from ray_decorator.core.paths import parents


@pytest.mark.parametrize("path", ["/a/b/c", "/a", "/", "/a b/ü.d"])
def test_as_pathlib_has_them(path: str) -> None:
    assert list(parents(path)) == [str(parent) for parent in PurePosixPath(path).parents]
