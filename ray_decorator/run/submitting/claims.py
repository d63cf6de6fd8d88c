"""Who writes which path at home: calls that would write to the same place are found out here."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from ...core.paths import parents
from ...core.problems import in_jobs
from ...core.values.model import Call, PathSlot


class _Claim(NamedTuple):
    call: Call
    out: PathSlot


class Claims:
    """The paths that calls are writing. One belongs to one call only, with all below it.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._owners: dict[str, _Claim] = {}
        self._above: dict[str, dict[int, _Claim]] = {}
        self._lock = threading.Lock()

    def add(self, *calls: Call) -> list[str]:
        """Claim the calls' outs; returns one message for each place that more than one call would write.

        The calls that are being run are rivals as well. Where there is any message, nothing is claimed.
        """
        rivals: dict[str, list[_Claim]] = {}
        with self._lock:
            for call in calls:
                for out in call.targets:
                    claim = _Claim(call, out)
                    if (owner := self._taken(claim)) is not None:
                        outer = min(owner.out.real, out.real, key=len)
                        rivals.setdefault(outer, [owner]).append(claim)
            if rivals:
                self._release(calls)
        return [_message(claims) for claims in rivals.values()]

    def release(self, calls: Iterable[Call]) -> None:
        """Let the calls' outs go: they write no more."""
        with self._lock:
            self._release(calls)

    def _taken(self, claim: _Claim) -> _Claim | None:
        """Whose the place is already, another call's; if nobody's, it is the claim's from now on."""
        path = claim.out.real
        rivals = [
            *self._above.get(path, {}).values(),
            *(self._owners.get(at) for at in (path, *parents(path))),
        ]
        for owner in rivals:
            if owner is not None and owner.call is not claim.call:
                return owner
        self._owners[path] = claim
        for above in parents(path):
            self._above.setdefault(above, {}).setdefault(id(claim.call), claim)
        return None

    def _release(self, calls: Iterable[Call]) -> None:
        for call in calls:
            for out in call.targets:
                owner = self._owners.get(out.real)
                if owner is not None and owner.call is call:
                    del self._owners[out.real]
                for above in parents(out.real):
                    claims = self._above.get(above, {})
                    claims.pop(id(call), None)
                    if not claims:
                        self._above.pop(above, None)


def release_with(outcome: Future[Any], claims: Claims, call: Call) -> None:
    """Release the call's outs when its job has ended."""
    outcome.add_done_callback(lambda _: claims.release([call]))


def _message(claims: Sequence[_Claim]) -> str:
    names = {id(claim.call): claim.call.name for claim in claims}
    who_and_what = _of_two(claims) if len(names) == 2 else _of_many(claims, list(names.values()))
    advice = "Give each call a path of its own, or wait for the one that runs"
    if all(claim.call.workspace is not None for claim in claims):
        advice = (
            "Give each job a path of its own: put ${hydra.job.num} into it, or place it below "
            "${hydra:runtime.output_dir}"
        )
    return f"{who_and_what}: one result would overwrite the other. {advice}"


def _of_two(claims: Sequence[_Claim]) -> str:
    theirs = claims[0]
    ours = [claim for claim in claims if claim.call is not theirs.call]
    return (
        f"job {theirs.call.name} ({_keys([theirs])}) and job {ours[0].call.name} ({_keys(ours)}) would both "
        f"write {ours[0].out.value} ({_how_the_same(theirs, ours[0])})"
    )


def _how_the_same(theirs: _Claim, ours: _Claim) -> str:
    if theirs.out.real != ours.out.real:
        return f"{theirs.out.value}, one inside the other"
    return "the same path" if theirs.out.value == ours.out.value else f"{theirs.out.value}, the same path"


def _of_many(claims: Sequence[_Claim], names: Sequence[str]) -> str:
    outer = min(claims, key=lambda claim: len(claim.out.real))
    inner = next((claim for claim in claims if claim.out.real != outer.out.real), None)
    inside = f" or what is inside of it, such as {inner.out.value}" if inner is not None else ""
    return f"{in_jobs(names)} would all write {outer.out.value} ({_keys(claims)}){inside}"


def _keys(claims: Sequence[_Claim]) -> str:
    keys = list(dict.fromkeys(claim.out.key for claim in claims))
    return ("key " if len(keys) == 1 else "keys ") + ", ".join(map(repr, keys))
