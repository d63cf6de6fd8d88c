"""What a failed, crashed or cancelled job leaves of its outs, and where that goes.

    a key in both deps and outs    files that are whole: to their place, as the same program would leave them here;
                                   in place of any other its version in the newest checkpoint
    all others, and the rest       <job's directory>/failed/<key>/<name>; without such a directory <out>.failed
    the job's own directory        to its place

What lies in another out goes with that one, but for a key in both.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..content.hashes.hash_cache import Stamp
from ..content.placing.move import move_all
from ..core.errors import HomeError, RayS3Error
from ..core.values.model import FAILED, Job
from .checkpoints import versions_before
from .disk.looks import Seen, stamps_at
from .outs import Leaving, Sent, Stuck, bring, bring_out
from .side import Side

log = logging.getLogger(__name__)

_LONGEST_NAME = 200  # of the 255 bytes that file systems take


@dataclass(frozen=True, slots=True)
class Left:
    """What became of it. ``keys`` are the outs of which something came elsewhere than to their places."""

    sent: Sent
    keys: tuple[str, ...] = ()


def bring_failed(job: Job, paths: Sequence[Path], root: Path, side: Side, seen: Seen | None) -> Left:
    """Bring home, or to the store, what there is of a job that did not end well; ``root`` is its scratch directory.

    ``seen`` None: it had not started, and has nothing but its directory.
    """
    parts = _Parts(job, paths, root)
    unchanged = parts.part(seen) if seen is not None else {}
    if any(job.outs[index].is_dep for index in parts.aside):
        try:
            parts.fill(versions_before(job, paths, root / "before", side))
        except (RayS3Error, OSError) as exc:  # what is at home stays then
            log.warning("%s: its newest checkpoint cannot be had: %s", job.name, exc)
    sent = bring(job, parts.leaving(), side, unchanged)
    here = {*(path for _, path, _ in sent.stuck), *sent.unsent}
    came = [
        index
        for index, path in sorted(parts.aside.items())
        if (
            paths[-1] not in here  # it came with the job's directory
            if job.has_workspace
            else index in sent.aside or (side.reaches(job.outs[index]) and path not in here)
        )
    ]
    if parts.stuck:
        error = HomeError.of([problem for problem, _, _ in (*parts.stuck, *sent.stuck)])
        sent = replace(sent, error=error, kept=True, stuck=(*parts.stuck, *sent.stuck))
    return Left(sent, tuple(job.outs[index].key for index in came))


def bring_done(job: Job, paths: Sequence[Path], root: Path, side: Side, seen: Seen | None) -> Left:
    """The same of a job that has ended well, though nobody heard of it: all goes to its place."""
    unchanged = {
        file: stamp
        for file, stamp in stamps_at(*paths)
        if seen is not None and not seen.is_changed(stamp.ctime)
    }
    return Left(bring_out(job, paths, side, unchanged))


def bring_logs(job: Job, paths: Sequence[Path], root: Path, side: Side) -> Sent:
    """Bring the logs of an attempt that is replaced: ``train.log`` as ``train.1.log``."""
    if not job.has_workspace or not paths[-1].is_dir():
        return Sent({}, 0, None)
    logs = root / "logs" / paths[-1].name
    logs.mkdir(parents=True, exist_ok=True)
    for log in paths[-1].glob("*.log"):
        if log.is_file():
            os.rename(log, logs / f"{log.stem}.{job.attempt}{log.suffix}")
    index = len(paths) - 1
    return bring(job, [Leaving(index, job.outs[index], logs)] if any(logs.iterdir()) else [], side)


class _Parts:
    """``whole`` goes to its place, by index in the job's outs; ``aside`` does not."""

    def __init__(self, job: Job, paths: Sequence[Path], root: Path) -> None:
        self.aside: dict[int, Path] = {}
        self.stuck: list[Stuck] = []
        self._whole: dict[int, Path] = {}
        self._job, self._paths, self._root = job, paths, root
        self._workspace = len(paths) - 1 if job.has_workspace else None

    def part(self, seen: Seen) -> dict[str, Stamp]:
        """Take the outs apart: what goes aside leaves its place here. The files that the job has not changed."""
        both = [index for index in self._tops() if self._job.outs[index].is_dep]
        roots = tuple(os.path.join(os.path.realpath(self._paths[index]), "") for index in both)
        stays: dict[str, Stamp] = {}
        unchanged: dict[str, Stamp] = {}
        moves: dict[int, tuple[Path, Path]] = {}
        for index in self._tops():
            changed = goes = False
            for file, stamp in stamps_at(self._paths[index]):
                if not seen.is_changed(stamp.ctime):
                    stays[file] = unchanged[file] = stamp
                elif (
                    seen.is_whole(file, stamp.ctime)
                    if index in both
                    else os.path.join(file, "").startswith(roots)
                ):
                    stays[file], changed = stamp, True
                else:
                    goes = True
            if goes:
                moves[index] = (self._paths[index], self._place_aside(index))
            if changed and index in both and not self._is_in_workspace(index):
                self._whole[index] = self._paths[index]
        errors = move_all(list(moves.values()), stays)
        for (index, (path, place)), error in zip(moves.items(), errors, strict=True):
            if error is None:
                self.aside[index] = place
            else:
                self.stuck.append(_stuck(self._job.outs[index].key, path, place, error))
        return unchanged

    def fill(self, before: Mapping[Path, Path]) -> None:
        """In the place of each file that went aside, the one of a checkpoint, where that has it."""
        for index, aside in self.aside.items():
            path = self._paths[index]
            if path not in before or not self._job.outs[index].is_dep:
                continue
            for file, _ in stamps_at(before[path]):
                relpath = os.path.relpath(file, os.path.realpath(before[path]))
                if os.path.lexists(aside / relpath) and not os.path.lexists(path / relpath):
                    os.makedirs(os.path.dirname(path / relpath), exist_ok=True)
                    os.rename(file, path / relpath)
                    if not self._is_in_workspace(index):
                        self._whole[index] = path

    def leaving(self) -> list[Leaving]:
        """How all of it leaves."""
        outs = self._job.outs
        leaving = [Leaving(index, outs[index], path) for index, path in self._whole.items()]
        if self._workspace is None:
            return leaving + [
                Leaving(index, outs[index], path, aside=True) for index, path in self.aside.items()
            ]
        return [*leaving, Leaving(self._workspace, outs[self._workspace], self._paths[self._workspace])]

    def _tops(self) -> list[int]:
        """The outs that go as one, those in another one last."""
        outs, found = self._job.outs, []
        for index, out in enumerate(outs):
            if index == self._workspace:
                continue
            holder = out.inside[0] if out.inside is not None else None
            if holder is None or holder == self._workspace or (out.is_dep and not outs[holder].is_dep):
                found.append(index)
        return sorted(found, key=lambda index: outs[index].inside is not None)

    def _is_in_workspace(self, index: int) -> bool:
        inside = self._job.outs[index].inside
        return inside is not None and inside[0] == self._workspace

    def _place_aside(self, index: int) -> Path:
        out = self._job.outs[index]
        if self._workspace is None:
            return self._root / FAILED / str(index) / out.name
        return self._paths[self._workspace] / FAILED / _folder_of(out.key) / out.name


def _folder_of(key: str) -> str:
    name = key.replace("/", "_").encode()[:_LONGEST_NAME].decode(errors="ignore")
    return name if name.strip(".") else "_"


def _stuck(key: str, path: Path, place: Path, error: Exception) -> Stuck:
    problem = error.strerror if isinstance(error, OSError) and error.strerror else error
    text = f"outs key {key!r}: what the job wrote cannot be brought to {place} ({problem})"
    return HomeError(text), path, place
