"""Calls become jobs: what they read is hashed, checked and uploaded, all calls of a batch at once.

calls ── deps hashed ── all that is wrong is reported ── those that an earlier run has done are left out
                                                                  │
                        jobs ── deps uploaded ── Ray is connected to, if any job is left
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ..core.errors import InputError, reworded
from ..core.options.settings import Settings
from ..core.problems import Problems
from ..core.progress import Progress
from ..core.values.model import Call, PathSlot
from ..core.values.work import Entry
from ..project import driver
from ..store.transfer import Snapshot
from .data.staging import Staging
from .engine.flights import Resumed, Staged
from .jobs import JobMaker
from .known_jobs import KnownJobs
from .ledger.ledger import Ledger


class Preparing:
    """Prepares the calls of a session. ``start`` is the directory in which the driver runs."""

    def __init__(
        self, settings: Settings, staging: Staging, ledger: Ledger, progress: Progress, start: str
    ) -> None:
        self._settings, self._staging, self._progress, self._start = settings, staging, progress, start
        self._known = KnownJobs(settings, staging, ledger, progress)

    def jobs(
        self, calls: Sequence[Call], connect: Callable[[], object], *, isolate: bool
    ) -> list[Staged | Resumed | InputError]:
        """The job of each call. ``connect`` is called before the first upload, if there is any job to run.

        Raises InputError with all that is wrong with any dep; with ``isolate`` it stands in its call's place.
        """
        if not self._settings.store_is_default:
            self._staging.open()
        travelling = [dep for call in calls for dep in call.deps if self._travels(dep)]
        found = self._staging.hash(travelling, self._progress)
        problems = [_problems(call.deps, found) for call in calls]
        if not isolate:
            _raise(calls, problems)
        good = [call for call, wrong in zip(calls, problems, strict=True) if not wrong]
        snapshots = _snapshots(found)
        contents = {real: one.content for real, one in snapshots.items()}
        done, entries = self._known.part(good, contents)
        if len(done) < len(good):
            connect()
        left = [index for index in range(len(good)) if index not in done]
        pushed = iter(self._pushed([good[i] for i in left], snapshots, [entries[i] for i in left]))
        staged = iter([done.get(index) or next(pushed) for index in range(len(good))])
        return [InputError.of(wrong) if wrong else next(staged) for wrong in problems]

    def again(self, staged: Staged) -> Staged:
        """The job anew, with what it reads in the store: also what a job was to read where it lies.

        Raises InputError for what is wrong with a dep by now.
        """
        found = self._staging.hash(staged.call.deps, self._progress)
        _raise([staged.call], [_problems(staged.call.deps, found)])
        return self._pushed([staged.call], _snapshots(found), [staged.job.entry])[0]

    def _travels(self, dep: PathSlot) -> bool:
        """Whether the dep goes through the store: not where jobs read it in its place, if it is there."""
        return not self._settings.store_is_default or not os.path.exists(dep.value)

    def _pushed(
        self, calls: Sequence[Call], found: dict[str, Snapshot], entries: Sequence[Entry | None]
    ) -> list[Staged]:
        wanted = {dep.real: found[dep.real] for call in calls for dep in call.deps if dep.real in found}
        pushed = self._staging.push(list(wanted.values()), self._progress) if wanted else []
        sent = dict(zip(wanted, pushed, strict=True))
        contents = {real: one.content for real, one in wanted.items()}
        make = self._maker().make
        return [
            Staged(
                call,
                replace(make(call, contents), entry=entry),
                tuple(
                    {one.content.digest: one for dep in call.deps if (one := wanted.get(dep.real))}.values()
                ),
                sum(sent.pop(dep.real, 0) for dep in call.deps),
            )
            for call, entry in zip(calls, entries, strict=True)
        ]

    def _maker(self) -> JobMaker:
        # a second attempt must not find the first one's files: no directory of the driver's then
        in_place = self._settings.retries.most == 0
        embedded, interval = self._settings.store_is_default, self._settings.checkpoint_interval
        paths, resumes = driver.project_paths(), bool(self._settings.resume)
        return JobMaker(self._start, paths, embedded, in_place, interval, resumes)


def _snapshots(found: dict[str, Snapshot | InputError]) -> dict[str, Snapshot]:
    return {real: one for real, one in found.items() if isinstance(one, Snapshot)}


def _problems(deps: Iterable[PathSlot], found: dict[str, Snapshot | InputError]) -> list[str]:
    return [
        reworded(problem, f"deps key {dep.key!r}: {problem}")
        for dep in deps
        if isinstance(wrong := found.get(dep.real), InputError)
        for problem in wrong.problems
    ]


def _raise(calls: Sequence[Call], problems: Sequence[list[str]]) -> None:
    collected = Problems()
    for call, wrong in zip(calls, problems, strict=True):
        collected.add(call.name, wrong)
    collected.raise_if_any()
