"""What a manifest cannot say of a content, as an object of ours in its store, so that it can be fetched whole later.

    <base>/ray_s3/extras/<2>/<30>      canonical JSON, named by its own md5

A job that sends an out which has any leaves one; ``ray-s3 fetch <digest>+<its md5>`` names it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from ..core.errors import CorruptObjectError
from ..core.values.contents import Content, Extras
from .manifest import md5

MOST_BYTES = 256 * 1024 * 1024

_PREFIX = "ray_s3/extras"
_T = TypeVar("_T")


def key_of(digest: str) -> str:
    """Where a store keeps the object of this name."""
    return f"{_PREFIX}/{digest[:2]}/{digest[2:]}"


def dump(content: Content) -> tuple[str, bytes] | None:
    """Its name and its bytes; None where the manifest says all."""
    extras = content.extras
    parts = {
        "executables": content.executables,
        "folders": extras.folders,
        "links": extras.links,
        "private": extras.private,
    }
    if not any(parts.values()):
        return None
    data = json.dumps(parts, sort_keys=True, separators=(",", ":")).encode("ascii")
    return md5(data).hexdigest(), data


def load(data: bytes, digest: str, content: Content) -> Content:
    """The content with what these bytes say of it. Whoever can write to a store may have made them up.

    Where the paths lead is checked as they are used (`extras.check`). Raises CorruptObjectError for bytes that do
    not hash to ``digest``, and for any other shape than that of `dump`.
    """
    if md5(data).hexdigest() != digest:
        raise CorruptObjectError(f"{key_of(digest)}: its bytes do not hash to its name", (digest,))
    try:
        parts = json.loads(data)
        extras = Extras(
            tuple(_each(parts["private"], _private)),
            tuple(_each(parts["folders"], _text)),
            tuple(_each(parts["links"], _link)),
        )
        return replace(content, executables=tuple(_each(parts["executables"], _text)), extras=extras)
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        text = f"{type(exc).__name__}: {exc}"[:200]
        raise CorruptObjectError(f"{key_of(digest)} is not acceptable: {text}") from exc


def _each(value: Any, read: Callable[[Any], _T]) -> list[_T]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, found {type(value).__name__}")
    return [read(part) for part in value]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a path, found {type(value).__name__}")
    return value


def _link(value: Any) -> tuple[str, str]:
    path, target = _each(value, _text)
    return path, target


def _private(value: Any) -> tuple[str, int]:
    path, bits = value
    if type(bits) is not int or not 0 <= bits <= 0o077:
        raise ValueError("expected bits of group and others")
    return _text(path), bits
