"""Who writes which path at home: calls that would write to the same place are found out here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..core.model import Call, PathSlot
from ..core.problems import in_jobs


class _Claim(NamedTuple):
    call: Call
    out: PathSlot
    path: Path  # with all links resolved


class Claims:
    """Collects the paths that calls will write. A path may belong to one call only, with all below it."""

    def __init__(self) -> None:
        self._owners: dict[Path, _Claim] = {}
        self._above: dict[Path, _Claim] = {}

    def add(self, *calls: Call) -> list[str]:
        """Claim the calls' outs; returns one message for each place that more than one call would write.

        The calls that came earlier are rivals as well. All of a sweep's at once make the fewest messages.
        """
        rivals: dict[Path, list[_Claim]] = {}
        for call in calls:
            for out in call.targets:
                claim = _Claim(call, out, Path(os.path.realpath(out.value)))
                if (owner := self._taken(claim)) is not None:
                    outer = min(owner.path, claim.path, key=lambda path: len(path.parts))
                    rivals.setdefault(outer, [owner]).append(claim)
        return [_message(claims) for claims in rivals.values()]

    def _taken(self, claim: _Claim) -> _Claim | None:
        """Whose the place is already, another call's; if nobody's, it is the claim's from now on."""
        path = claim.path
        for owner in (self._above.get(path), *(self._owners.get(above) for above in (path, *path.parents))):
            if owner is not None and owner.call is not claim.call:
                return owner
        self._owners[path] = claim
        for above in path.parents:
            self._above.setdefault(above, claim)
        return None


def _message(claims: Sequence[_Claim]) -> str:
    names = {id(claim.call): claim.call.name for claim in claims}
    who_and_what = _of_two(claims) if len(names) == 2 else _of_many(claims, list(names.values()))
    return (
        f"{who_and_what}: one result would overwrite the other. Give each job a path of its own: "
        "put ${hydra.job.num} into it, or place it below ${hydra:runtime.output_dir}"
    )


def _of_two(claims: Sequence[_Claim]) -> str:
    theirs = claims[0]
    ours = [claim for claim in claims if claim.call is not theirs.call]
    return (
        f"job {theirs.call.name} ({_keys([theirs])}) and job {ours[0].call.name} ({_keys(ours)}) would both "
        f"write {ours[0].out.value} ({_how_the_same(theirs, ours[0])})"
    )


def _how_the_same(theirs: _Claim, ours: _Claim) -> str:
    if theirs.path != ours.path:
        return f"{theirs.out.value}, one inside the other"
    return "the same path" if theirs.out.value == ours.out.value else f"{theirs.out.value}, the same path"


def _of_many(claims: Sequence[_Claim], names: Sequence[str]) -> str:
    outer = min(claims, key=lambda claim: len(claim.path.parts))
    inner = next((claim for claim in claims if claim.path != outer.path), None)
    inside = f" or what is inside of it, such as {inner.out.value}" if inner is not None else ""
    return f"{in_jobs(names)} would all write {outer.out.value} ({_keys(claims)}){inside}"


def _keys(claims: Sequence[_Claim]) -> str:
    keys = list(dict.fromkeys(claim.out.key for claim in claims))
    return ("key " if len(keys) == 1 else "keys ") + ", ".join(map(repr, keys))
