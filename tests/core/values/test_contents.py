"""What a path holds."""

from __future__ import annotations

from ray_decorator.core.values.contents import Content


def test_a_digest_tells_a_tree() -> None:
    assert Content("0" * 32 + ".dir", 10, 2).is_tree
    assert not Content("0" * 32, 10, 1).is_tree
