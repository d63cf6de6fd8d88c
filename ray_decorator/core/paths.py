"""Paths as text, where there are too many of them for pathlib."""

from __future__ import annotations

from collections.abc import Iterator


def parents(path: str) -> Iterator[str]:
    """The directories above an absolute, normal path, the nearest first."""
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)
    if path != "/":
        yield "/"
