"""Names that are one and the same to some file systems: ``A`` and ``a``, or an ``ü`` in its two unicode forms.

A directory that has both comes whole to a file system that tells them apart, as most of Linux do. Elsewhere (macOS,
Windows, network shares) one of them would silently take the place of the other. Which of the two it is, the file
system itself is asked.
"""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Iterable

from ...core.errors import InputError

_MOST_TRIED, _MOST_SHOWN = 100, 3


def clashes(paths: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Pairs of names in one directory that differ by case or unicode form alone; ``paths`` have ``/``."""
    first: dict[str, str] = {}
    found: dict[tuple[str, str], None] = {}
    folders: set[str] = set()
    pending = list(paths)
    while pending:
        above: dict[str, None] = {}
        for path in pending:
            other = first.setdefault(_folded(path), path)
            if other != path:
                found.setdefault(_differing(other, path))
            folder = path.rpartition("/")[0]
            if folder and folder not in folders:
                above[folder] = None
        folders.update(above)
        pending = list(above)
    return tuple(found)


def refuse_where_same(folder: str, pairs: Iterable[tuple[str, str]]) -> None:
    """Raise InputError where the file system of the directory ``folder`` takes one of a pair for the other.

    Raises OSError where nothing can be written there.
    """
    same = []
    for pair in list(pairs)[:_MOST_TRIED]:
        with tempfile.TemporaryDirectory(prefix=".ray_s3-", dir=folder) as tried:
            names = [os.path.join(tried, name) for name in pair]
            with open(names[0], "x"):
                pass  # some mounts show a file when it is closed
            if os.path.lexists(names[1]):
                same.append(pair)
    if same:
        shown = ", ".join(f"{first!r} and {second!r}" for first, second in same[:_MOST_SHOWN])
        more = ", …" if len(same) > _MOST_SHOWN else ""
        raise InputError(
            f"{folder}: its file system takes {shown}{more} for the same name, and one file would replace the other. "
            "Rename one of them, or choose a place on another file system"
        )


def _folded(path: str) -> str:
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path.casefold())


def _differing(one: str, other: str) -> tuple[str, str]:
    """The first parts of two paths that differ."""
    parts = zip(one.split("/"), other.split("/"), strict=False)
    return next((a, b) for a, b in parts if a != b)
