"""Paths as text, where pathlib is too slow or too much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


def parents(path: str) -> Iterator[str]:
    """The directories above an absolute, normal path, the nearest first."""
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)
    if path != "/":
        yield "/"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the driver's, as a real path. ``whole``: also what is below it is meant, else it alone."""

    path: str
    whole: bool
