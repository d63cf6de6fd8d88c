"""A call becomes a job: what it reads is pushed, and its paths at home stay behind."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core import pickling
from ..core.machine import path_id
from ..core.model import Call, Dep, Job, Out, PathSlot
from .staging import Staging


@dataclass(frozen=True, slots=True)
class JobMaker:
    """Makes the jobs of one run. ``cwd`` and ``sys_path`` are the driver's.

    ``in_place``: a worker that stands before the driver's own directory may let a job work in it.
    """

    staging: Staging
    cwd: str
    sys_path: tuple[str, ...]
    in_place: bool

    def make(self, call: Call) -> tuple[Job, int]:
        """The job, once the store holds all that it reads, and how many bytes that took.

        Raises PicklingError, InputError for what cannot be read any more, StoreError.
        """
        payload = pickling.dumps(
            {"args": call.args, "kwargs": dict(call.kwargs)}, f"an argument of {call.name}"
        )
        targets = call.targets
        deps, sent = [], 0
        for dep in call.deps:
            content, bytes_sent = self.staging.push(dep.value)
            deps.append(Dep(dep.slot, dep.key, dep.value.name or "dep", content, _inside(dep.value, targets)))
            sent += bytes_sent
        job = Job(
            id=uuid.uuid4().hex,
            name=call.name,
            payload=payload,
            deps=tuple(deps),
            outs=tuple(self._out(call, targets, position) for position in range(len(targets))),
            cwd=self.cwd,
            sys_path=self.sys_path,
        )
        return job, sent

    def _out(self, call: Call, targets: Sequence[PathSlot], position: int) -> Out:
        target = targets[position]
        is_workspace = target is call.workspace
        return Out(
            slot=target.slot,
            key=target.key,
            name=target.value.name or "out",
            inside=_inside(target.value, targets[:position]),
            place=path_id(target.value) if is_workspace and self.in_place else None,
            directory=target.value.is_dir(),
            on_failure=is_workspace,
        )


def _inside(path: Path, outs: Sequence[PathSlot]) -> tuple[int, str] | None:
    real = Path(os.path.realpath(path))
    for index, out in enumerate(outs):
        other = Path(os.path.realpath(out.value))
        if real == other or other in real.parents:
            return index, os.path.relpath(real, other)
    return None
