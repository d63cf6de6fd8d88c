"""Paths as text, where pathlib is too slow or too much."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass


def parents(path: str) -> Iterator[str]:
    """The directories above an absolute, normal path, the nearest first."""
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)
    if path != "/":
        yield "/"


def upwards(path: str, stop: Collection[str] = ()) -> Iterator[str]:
    """An absolute, normal path and the directories above it, up to the first of ``stop``, which is not given."""
    return itertools.takewhile(lambda at: at not in stop, itertools.chain([path], parents(path)))


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the driver's, as a real path. ``whole``: also what is below it is meant, else it alone."""

    path: str
    whole: bool
