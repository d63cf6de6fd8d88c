"""What DVC tracks here and is not on this disk: where a job that reads it would get it from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from ..content.manifest import object_key
from ..content.threads import each
from ..core.units import human_size
from ..core.values.stores import Location
from ..dvc.tracked.cache import Cache
from ..dvc.tracked.outputs import Outputs
from ..dvc.tracked.recorded import Output
from ..store.store import Store, open_store
from .findings import Finding

_SHOWN = 10
_STORE = "the store has it, and jobs fetch it there"
_CACHE = "DVC's cache has it, and it is uploaded from there"
_NOBODY = "neither the store nor DVC's cache has it"


def check(root: str, place: Location | None) -> Finding:
    """Look at the repository ``root``. ``place`` is the store, None where none is used. Raises as these do."""
    outputs = Outputs().all_of(root)
    absent = [one for one in outputs if not os.path.exists(one.path)]
    facts = [f"{root}: {len(outputs)} outputs that DVC tracks, {len(absent)} of them not on this disk"]
    where = _where(absent, Cache(root), open_store(place) if place is not None else None)
    counts = Counter(where)
    facts += [f"{counts[each]}: {each}" for each in (_STORE, _CACHE, _NOBODY) if counts[each]]
    facts += [f"  {_described(one, root)}: {text}" for one, text in zip(absent[:_SHOWN], where, strict=False)]
    if len(absent) > _SHOWN:
        facts.append(f"  … and {len(absent) - _SHOWN} more")
    if not counts[_NOBODY]:
        return Finding("DVC data", "ok", tuple(facts))
    return Finding("DVC data", "warning", tuple(facts), "a job that reads these needs `dvc pull` first")


def _where(absent: Sequence[Output], cache: Cache, store: Store | None) -> list[str]:
    found: dict[str, str] = {}

    def look(one: Output) -> None:
        if store is not None and one.names_content and store.head(object_key(one.digest)) is not None:
            found[one.path] = _STORE
        elif one.names_content and _is_cached(one, cache):
            found[one.path] = _CACHE
        else:
            found[one.path] = _NOBODY

    each(look, absent, store.threads if store is not None else 1)
    return [found[one.path] for one in absent]


def _is_cached(one: Output, cache: Cache) -> bool:
    rows = cache.rows(one.digest) if one.is_tree else ()
    digests = [one.digest] if not one.is_tree else [row.md5 for row in rows or ()]
    return rows is not None and all(os.path.exists(cache.file_of(digest)) for digest in digests)


def _described(one: Output, root: str) -> str:
    name = os.path.relpath(one.path, root)
    return name if one.size is None else f"{name} ({human_size(one.size)})"
