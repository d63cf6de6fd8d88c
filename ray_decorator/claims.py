"""Who writes which path at home: two calls that would write to the same place are found out here."""

from __future__ import annotations

import os
from pathlib import Path

from .model import Call, PathSlot


class Claims:
    """Collects the paths that calls will write. A path may belong to one call only, with all below it."""

    def __init__(self) -> None:
        self._owners: dict[Path, tuple[Call, PathSlot]] = {}
        self._above: dict[Path, tuple[Call, PathSlot]] = {}

    def add(self, call: Call) -> list[str]:
        """Claim the call's outs; returns one message for each that is another call's already."""
        return [problem for out in call.targets for problem in self._claim(call, out)]

    def _claim(self, call: Call, out: PathSlot) -> list[str]:
        path = Path(os.path.realpath(out.value))
        rivals = [self._above.get(path), *(self._owners.get(above) for above in (path, *path.parents))]
        for rival in rivals:
            if rival is not None and rival[0] is not call:
                return [_message(call, out, *rival)]
        self._owners[path] = (call, out)
        for above in path.parents:
            self._above.setdefault(above, (call, out))
        return []


def _message(call: Call, out: PathSlot, other: Call, theirs: PathSlot) -> str:
    same = "the same path" if out.value == theirs.value else f"{theirs.value}, one inside the other"
    return (
        f"job {other.name} (key {theirs.key!r}) and job {call.name} (key {out.key!r}) would both write "
        f"{out.value} ({same}): one result would overwrite the other. Give each job a path of its own: "
        "put ${hydra.job.num} into it, or place it below ${hydra:runtime.output_dir}"
    )
