"""Which distributions require which, as their metadata says (``Requires-Dist``) of this Python on this platform."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping

from packaging.markers import Marker
from packaging.utils import canonicalize_name

Requires = Mapping[str, tuple[str, ...]]
"""Normalised name (PEP 503) -> its requirements as they are written: ``fsspec[http]>=2023; extra == 'x'``."""

Wanted = tuple[str, frozenset[str]]
"""A distribution's normalised name, with its extras."""

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?")  # a whole one is slow to parse
_WANTS_EXTRA = re.compile(r"""(?!.*(?:\bor\b|;)).*\bextra\s*==\s*(['"])[^'"]+\1\s*""")
"""A marker that holds with an extra alone: nine tenths of all, and slow to parse as well."""


def required(lines: Iterable[str], extras: Iterable[str] = ()) -> Iterator[Wanted]:
    """What the lines require here: not for another platform, Python or extra."""
    for line in lines:
        requirement, _, marker = line.partition(";")
        found = _REQUIREMENT.match(requirement)
        if found and (not marker or any(_applies(marker.strip(), extra) for extra in ("", *extras))):
            names = (name.strip() for name in (found[2] or "").split(","))
            yield canonicalize_name(found[1]), frozenset(filter(None, names))


def names(lines: Iterable[str]) -> tuple[str, ...]:
    """The names alone."""
    return tuple(name for name, _ in required(lines))


def reached(start: Iterable[Wanted], requires: Requires) -> set[str]:
    """All that is needed for ``start``, itself included; names that nobody has installed count too."""
    seen: set[Wanted] = set()
    todo = list(start)
    while todo:
        wanted = todo.pop()
        if wanted not in seen:
            seen.add(wanted)
            todo += required(requires.get(wanted[0], ()), wanted[1])
    return {name for name, _ in seen}


def roots(requires: Requires) -> tuple[str, ...]:
    """Names that no other one requires, and one of each ring of names that require one another."""
    edges = {one: names(lines) for one, lines in requires.items()}
    required_ones = {name for one, others in edges.items() for name in others if name != one}
    found = [name for name in sorted(edges) if name not in required_ones]
    met: set[str] = set()
    todo = list(found)
    for spare in [None, *sorted(edges)]:
        if spare is not None and spare not in met:
            found.append(spare)
            todo.append(spare)
        while todo:
            name = todo.pop()
            if name in edges and name not in met:
                met.add(name)
                todo += edges[name]
    return tuple(dict.fromkeys(found))


@functools.cache
def _applies(marker: str, extra: str) -> bool:
    if not extra and _WANTS_EXTRA.fullmatch(marker):
        return False
    try:
        return Marker(marker).evaluate({"extra": extra})
    except ValueError:  # written before PEP 508, or part of a URL: rather one package too many
        return True
