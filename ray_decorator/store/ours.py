"""What is ours alone in a store, below ``ray_s3/``: what has grown old there and is named by nothing that stays.

Receipts and directories' manifests name what belongs to them by digests, in hex: what one that stays names stays
too. Data (``files/``) is the user's, and is never touched.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..content.manifest import PREFIX as OBJECTS
from ..content.threads import each
from ..core.errors import StoreError
from .download import LARGEST_MANIFEST
from .store import OURS, Seen, Store

PREFIX = OURS

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{32,64}(?![0-9a-f])")
_CONTENT = re.compile(rf"{PREFIX}/(\w+)/{OBJECTS}/([0-9a-f]{{2}})/([0-9a-f]{{30}}(?:\.dir)?)")


@dataclass(frozen=True, slots=True)
class Found:
    """``goes``: the objects that can be removed; ``total``: what there is, as (number, bytes) by its first folder."""

    goes: tuple[Seen, ...]
    total: Mapping[str, tuple[int, int]]


def find(store: Store, before: float) -> Found:
    """What is ours, and what of it was last written ``before`` (seconds since 1970). Raises StoreError."""
    seen = {one.key: one for page in store.look_at_all(f"{PREFIX}/") for one in page if _is_ours(one.key)}
    young = [one for one in seen.values() if one.modified >= before]
    stays = {one.key for one in young} | _named(young, seen, store)
    goes = tuple(one for one in seen.values() if one.key not in stays)
    return Found(goes, summed(seen.values()))


def summed(objects: Iterable[Seen]) -> dict[str, tuple[int, int]]:
    """How many there are and their bytes, by the first folder below ours."""
    numbers, sizes = Counter[str](), Counter[str]()
    for one in objects:
        folder = one.key.split("/")[1]
        numbers[folder] += 1
        sizes[folder] += one.size
    return {folder: (numbers[folder], sizes[folder]) for folder in sorted(numbers)}


def remove(objects: Iterable[Seen], store: Store) -> None:
    """Delete them: what names others goes first, so that none is left that names what is gone. Raises StoreError."""
    keys = [one.key for one in objects if _is_ours(one.key)]
    for some in (
        [key for key in keys if _names_others(key)],
        [key for key in keys if not _names_others(key)],
    ):
        each(store.delete, some, store.threads)


def digests_of(objects: Iterable[Seen]) -> dict[str, list[str]]:
    """Area -> the names of the contents there that these objects are."""
    found: dict[str, list[str]] = {}
    for one in objects:
        if match := _CONTENT.fullmatch(one.key):
            found.setdefault(match[1], []).append(match[2] + match[3])
    return found


def _is_ours(key: str) -> bool:
    return key.startswith(f"{PREFIX}/")


def _names_others(key: str) -> bool:
    return key.endswith((".dir", ".json"))


def _named(roots: Iterable[Seen], seen: Mapping[str, Seen], store: Store) -> set[str]:
    """The keys of all that these objects name, and what that names in turn."""
    by_digest: dict[str, list[str]] = {}
    for key in seen:
        for digest in _own_digests(key):
            by_digest.setdefault(digest, []).append(key)
    named: set[str] = set()
    pending = [one for one in roots if _names_others(one.key)]
    while pending:
        texts = _texts(pending, store)
        found = {
            key for text in texts for digest in _DIGEST.findall(text) for key in by_digest.get(digest, ())
        }
        pending = [seen[key] for key in found - named if _names_others(key)]
        named |= found
    return named


def _own_digests(key: str) -> list[str]:
    """What others name it by: ``…/<digest>``, or ``…/<2 digits>/<the others>``; an ending does not count."""
    *_, folder, name = key.split("/")
    name = name.partition(".")[0]
    return [digest for digest in (name, folder + name) if _DIGEST.fullmatch(digest)]


def _texts(objects: Iterable[Seen], store: Store) -> list[str]:
    texts: list[str] = []

    def read(one: Seen) -> None:
        if one.size > LARGEST_MANIFEST:
            raise StoreError(
                f"{store.url}/{one.key} is too large to be one of ours: remove it, and run again"
            )
        incoming = store.get(one.key)
        texts.append("" if incoming is None else bytes(incoming.read()).decode("ascii", "replace"))

    each(read, list(objects), store.threads)
    return texts
