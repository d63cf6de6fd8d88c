"""A job's outs: where it writes them, and how they come to their places at home, or to the store.

An out that cannot leave keeps none of the others, and stays on its node.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..content.hashes.hash_cache import HashCache, Stamp
from ..content.placing.move import move_all, move_aside
from ..core.commands import fetch_command
from ..core.errors import HomeError, InputError
from ..core.machine.this_machine import is_same_path
from ..core.progress import NoProgress
from ..core.values.contents import Content
from ..core.values.model import DIRECTORIES, FAILED, Job, Out
from ..store.pushing import Pushed, push_each
from ..store.transfer import Snapshot, snapshot
from .side import Side

Stuck = tuple[Exception, Path, Path]
"""What is wrong with an out that is not at home, where it is, and where it belongs."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a job's outs. ``error`` is the first that met one of them."""

    outs: Mapping[int, Content]
    bytes: int
    error: Exception | None
    kept: bool = False  # one of them could not be sent, and is here still
    stuck: tuple[Stuck, ...] = ()  # of those, what belongs to a place on this machine
    unsent: tuple[Path, ...] = ()  # of those, what could not go to the store
    healed: tuple[str, ...] = ()  # objects that the store had spoilt, and that were replaced
    aside: Mapping[int, Content] = field(
        default_factory=dict
    )  # of a failed job: what does not go to its place


def out_paths(job: Job, root: Path, side: Side) -> list[Path]:
    """Where the job writes each out: below ``root``, its scratch directory, or in a directory of home's in place."""
    tops = [
        _in_place(job, out) or root / "outs" / str(index) / out.name for index, out in enumerate(job.outs)
    ]
    return [
        path if out.inside is None else tops[out.inside[0]] / out.inside[1]
        for path, out in zip(tops, job.outs, strict=True)
    ]


def make_out_parents(job: Job, paths: Sequence[Path]) -> None:
    """What the job may expect to be there: an out that is a directory at home, the directory of any other."""
    for out, path in zip(job.outs, paths, strict=True):
        (path if out.directory else path.parent).mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True, slots=True)
class Leaving:
    """What there is of an out, and how it leaves: to its place or, ``aside``, to the one of a failed job's."""

    index: int
    out: Out
    path: Path
    aside: bool = False

    @property
    def home(self) -> Path | None:
        """Where it belongs on the driver's disk; None where it has no place there."""
        if self.out.home is None or (self.aside and not self.out.beside):
            return None
        return Path(f"{self.out.home.path}.{FAILED}" if self.aside else self.out.home.path)


def bring_out(job: Job, paths: Sequence[Path], side: Side, copied: Mapping[str, Stamp] | None = None) -> Sent:
    """Move home, or push, what the job wrote. ``copied`` are files that were put there for the job."""
    leaving = [Leaving(*each) for each in zip(range(len(paths)), job.outs, paths, strict=True)]
    return bring(job, leaving, side, copied)


def bring(
    job: Job, leaving: Sequence[Leaving], side: Side, copied: Mapping[str, Stamp] | None = None
) -> Sent:
    """Move home, or push, what there is of these. One that cannot leave keeps none of the others."""
    wanted = [one for one in leaving if one.path.exists() and not _is_in_place(one.out, one.path)]
    near = [one for one in wanted if side.reaches(one.out)]
    sent = _push(job, [one for one in wanted if one not in near], side)
    together = {one.index for one in near if not one.aside}
    # what lies in another one goes with that
    alone = [one for one in near if one.out.inside is None or one.out.inside[0] not in together]
    stuck = _move_home(alone, copied or {})
    left = tuple(each for each in stuck if not isinstance(each[0], _Aside))
    error = HomeError.of([problem for problem, _, _ in stuck]) or sent.error
    return replace(sent, error=error, kept=sent.kept or bool(left), stuck=left)


def kept_back(sent: Sent, before: Path, kept: Path, *, at_home: bool) -> Exception:
    """The error of outs that did not leave; of those that are on their node still, with what brings them later.

    The scratch directory was at ``before``, and is at ``kept`` now.
    """
    node, told, commands = socket.gethostname(), [], []

    def now(path: Path) -> Path:
        return kept / path.relative_to(before) if path.is_relative_to(before) else path

    for problem, path, home in sent.stuck:
        commands.append(fetch_command(now(path), home))
        told.append(_kind(problem)(f"{problem}. On node {node}, bring it later with: {commands[-1]}"))
    commands += [kept_command(now(path), path.name, at_home=at_home) for path in sent.unsent]
    error = HomeError.of(told) or sent.error
    assert error is not None
    if sent.kept:
        error.add_note(kept_on("The job's outs are", kept, commands, at_home=at_home))
    return error


def kept_command(path: Path, where: str | Path, *, at_home: bool) -> str:
    """The command that brings what is kept here: to be given on this machine or, if that is not home, at home."""
    return fetch_command(path if at_home else f"{socket.gethostname()}:{path}", where)


def kept_on(what: str, at: Path, commands: Sequence[str], *, at_home: bool) -> str:
    """What a note says of what stays on this node, ``at`` a path, with the `kept_command`s that bring it."""
    where = "on that node" if at_home else "where RAY_ADDRESS names the cluster"
    told = f"{what} kept on node {socket.gethostname()} at {at}"
    return f"{told}. Bring them later, {where}, with: {'; '.join(commands)}"


def _kind(error: Exception) -> type[InputError] | type[HomeError]:
    return InputError if isinstance(error, InputError) else HomeError


def _in_place(job: Job, out: Out) -> Path | None:
    place = out.in_place
    if place is None or job.user != os.getuid() or not is_same_path(place):
        return None
    return Path(place.path) if os.access(place.path, os.W_OK) else None


class _Aside(InputError):
    """Something is in the way of an out; it was put beside its place."""

    def __reduce__(self) -> Any:
        return InputError, (self.problems,)


def _is_in_place(out: Out, path: Path) -> bool:
    return out.in_place is not None and path == Path(out.in_place.path)


def _move_home(leaving: Sequence[Leaving], copied: Mapping[str, Stamp]) -> list[Stuck]:
    """Move outs to their places; what is wrong with those that are not there now, and where each is and belongs."""
    away = [(one, one.path, home) for one in leaving if (home := one.home) is not None]
    # what is below a directory that is used in place is there already
    away = [each for each in away if os.path.realpath(each[1]) != os.path.realpath(each[2])]
    errors = move_all([(path, home) for _, path, home in away], copied)
    return [
        *[_placeless(one) for one in leaving if one.home is None],
        *[
            (_stuck(one.out, path, home, error), path, home)
            for (one, path, home), error in zip(away, errors, strict=True)
            if error is not None
        ],
    ]


def _placeless(one: Leaving) -> Stuck:
    name = f"{one.out.name}.{FAILED}"
    why = f"outs key {one.out.key!r}: beside its place, {name} would be in a dep or in another out"
    return InputError(why), one.path, Path(name)


def _stuck(out: Out, path: Path, home: Path, error: Exception) -> Exception:
    problem: object = error
    if isinstance(error, InputError):
        try:
            aside = move_aside(path, home)
            return _Aside(f"outs key {out.key!r}: {error}. What the job wrote is at {aside}")
        except Exception as exc:
            problem = f"{error}; nor beside it: {exc}"
    if isinstance(error, OSError) and error.strerror:
        problem = error.strerror
    half = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
    text = f"outs key {out.key!r}: what the job wrote cannot be brought to {home} ({problem}){half}"
    return _kind(error)(text)


def _push(job: Job, leaving: Sequence[Leaving], side: Side) -> Sent:
    """Hash and push them all as one batch; each that can go goes."""
    if not leaving:
        return Sent({}, 0, None)
    hashes = HashCache.in_memory()
    taken: dict[Leaving, Snapshot] = {}
    errors: dict[Leaving, Exception] = {}
    for one in leaving:
        try:
            found = snapshot(one.path, hashes, NoProgress(), lenient=True)
            taken[one] = found.within(DIRECTORIES) if job.is_workspace(one.index) else found
        except Exception as exc:
            errors[one] = exc
    pushed: dict[Leaving, Pushed] = {}
    try:
        # not trusted: once the scratch is removed, nobody else has these bytes
        came = push_each(list(taken.values()), side.store, hashes, NoProgress())
        pushed = dict(zip(taken, came, strict=True))
    except Exception as exc:  # the store cannot be opened, say
        errors.update(dict.fromkeys(taken, exc))
    errors.update((one, each.error) for one, each in pushed.items() if each.error is not None)
    outs = {one.index: taken[one].content for one in pushed if one not in errors and not one.aside}
    aside = {one.index: taken[one].content for one in pushed if one not in errors and one.aside}
    error = next((_of_out(errors[one], job, one.out) for one in leaving if one in errors), None)
    return Sent(
        outs,
        sum(each.sent for each in pushed.values()),
        error,
        kept=bool(errors),
        aside=aside,
        unsent=tuple(one.path for one in leaving if one in errors),
        healed=tuple(_spoilt(one, path, key) for one, each in pushed.items() for path, key in each.spoilt),
    )


def _spoilt(one: Leaving, path: str, key: str) -> str:
    relpath = os.path.relpath(path, os.path.realpath(one.path))
    return f"outs key {one.out.key!r}, {one.out.name if relpath == '.' else relpath} ({key})"


def _of_out(error: Exception, job: Job, out: Out) -> Exception:
    error.add_note(f"{job.name} has run; this is of its out {out.key!r}")
    return error
