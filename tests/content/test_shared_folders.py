"""Folders for a group, and ordinary ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ray_decorator.content import shared_folders


@pytest.mark.parametrize(("shared", "mode"), [(True, 0o2775), (False, 0o700)])
def test_whatever_the_umask_is(tmp_path: Path, shared: bool, mode: int) -> None:
    before = os.umask(0o077)
    try:
        for _ in range(2):
            shared_folders.make(str(tmp_path / "a" / "b"), shared=shared)
    finally:
        os.umask(before)
    for folder in ("a", "a/b"):
        assert (tmp_path / folder).stat().st_mode & 0o7777 == mode
    assert tmp_path.stat().st_mode & 0o7777 == 0o700
