"""What is wrong with many jobs, said once: equal problems are grouped, and name the jobs that have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .errors import InputError, reworded


class Problems:
    """Collects problems by job; the order in which each was met first is kept."""

    def __init__(self) -> None:
        self._jobs: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def add(self, job: str, problems: Iterable[str]) -> None:
        """Note the problems of one job."""
        for problem in problems:
            self._jobs.setdefault(problem, []).append(job)

    def raise_if_any(self) -> None:
        """Raise one InputError with all of them; a MissingDepError where all are of missing deps."""
        if self._jobs:
            said = [reworded(each, f"{each} ({in_jobs(jobs)})") for each, jobs in self._jobs.items()]
            raise InputError.of(said)


def in_jobs(names: Sequence[str]) -> str:
    """Which jobs a problem is in, short: ``job #0 x=1`` or ``300 jobs: #0 x=1, #1 x=2, …``."""
    if len(names) == 1:
        return f"job {names[0]}"
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names)} jobs: {shown}"
