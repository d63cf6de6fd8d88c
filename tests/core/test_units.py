"""Sizes and durations as a person reads them."""

from __future__ import annotations

import pytest

from ray_decorator.core.units import human_seconds, human_size


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (950, "950 B"), (1_234_567, "1.2 MB"), (107_000_000, "107 MB"), (9_960_000, "10 MB"),
     (999_600, "1.0 MB"), (3.2e12, "3.2 TB"), (7e18, "7000 PB")],
)  # fmt: skip
def test_human_size(size: float, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (3.14, "3.1 s"), (59.97, "1 min 00 s"), (125, "2 min 05 s"), (3725, "1 h 02 min")],
)
def test_human_seconds(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text
