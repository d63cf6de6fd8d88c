"""A call becomes a job: what it reads is named by content, and its paths at home stay behind."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.machine.this_machine import path_id
from ..core.paths import parents
from ..core.values.contents import Content
from ..core.values.model import Call, Dep, Home, Job, Out, PathId, PathSlot
from .data.failed_outs import place_beside


@dataclass(frozen=True, slots=True)
class JobMaker:
    """Makes the jobs of a session. ``cwd`` and ``sys_path`` are the driver's.

    ``embedded``: no store was named, so a worker that sees the driver's own disk reads deps where they lie,
    and moves outs to their places. ``in_place``: one that sees the workspace itself may let a job work in it, but
    where that holds what the job both reads and writes.
    """

    cwd: str
    sys_path: tuple[str, ...]
    embedded: bool
    in_place: bool
    checkpoint_interval: float | None = None
    resumes: bool = False

    def make(self, call: Call, contents: Mapping[str, Content]) -> Job:
        """The job. ``contents`` are those of its deps by real path; with the embedded default they may lack."""
        targets = call.targets
        tops: dict[str, int] = {}
        for index, target in enumerate(targets):
            tops.setdefault(target.real, index)
        nearest: dict[str, PathId | None] = {}
        return Job(
            id=uuid.uuid4().hex,
            name=call.name,
            payload=call.payload,
            deps=tuple(self._dep(dep, tops, targets, contents) for dep in call.deps),
            outs=tuple(self._out(call, index, tops, nearest) for index in range(len(targets))),
            has_workspace=call.workspace is not None,
            cwd=self.cwd,
            sys_path=self.sys_path,
            user=os.getuid(),
            inherited=call.inherited,
            checkpoint_interval=self.checkpoint_interval,
            resumes=self.resumes,
        )

    def _dep(
        self,
        dep: PathSlot,
        tops: Mapping[str, int],
        targets: Sequence[PathSlot],
        contents: Mapping[str, Content],
    ) -> Dep:
        return Dep(
            key=dep.key,
            name=_name(dep),
            content=contents.get(dep.real),
            home=path_id(dep.value) if self.embedded else None,
            inside=_inside(dep.real, tops, targets),
        )

    def _out(self, call: Call, index: int, tops: Mapping[str, int], nearest: dict[str, PathId | None]) -> Out:
        target = call.targets[index]
        is_workspace = target is call.workspace
        read = {dep.real for dep in call.deps}
        inside = _inside(target.real, tops, call.targets)
        return Out(
            key=target.key,
            name=_name(target),
            inside=None if inside is None or inside[0] == index else inside,
            home=_home(target, nearest) if self.embedded else None,
            in_place=path_id(target.value)
            if is_workspace and self.in_place and not _holds(target, call.outs, read)
            else None,
            directory=target.value.is_dir(),
            is_dep=target.real in read,
            beside=place_beside(call, target) is not None,
        )


def _name(path: PathSlot) -> str:
    """What a file or directory is called where a job finds it: as at home."""
    return path.value.name if path.value.name not in ("", "..") else os.path.basename(path.real) or "root"


def _holds(workspace: PathSlot, outs: Sequence[PathSlot], read: Collection[str]) -> bool:
    return any(out.real in read and workspace.real in (out.real, *parents(out.real)) for out in outs)


def _inside(real: str, tops: Mapping[str, int], targets: Sequence[PathSlot]) -> tuple[int, str] | None:
    """The outermost of the targets that ``real`` is, or lies in, and where in it."""
    index = next((tops[above] for above in reversed((real, *parents(real))) if above in tops), None)
    return None if index is None else (index, os.path.relpath(real, targets[index].real))


def _home(target: PathSlot, nearest: dict[str, PathId | None]) -> Home | None:
    at = Path(target.real).parent  # not the out itself, which may be replaced meanwhile
    while True:
        key = str(at)
        if key not in nearest:
            nearest[key] = path_id(at)
        if (found := nearest[key]) is not None:
            return Home(str(target.value), found)
        if at == at.parent:
            return None
        at = at.parent
