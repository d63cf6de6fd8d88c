"""What a sweep prints of its jobs: a table at its end, and before it a line a job where it has many batches.

A sweeper that looks at results (Optuna) calls the launcher again and again. Then what is said of a batch is said
once, and the display of progress stays open from the first batch to the end. The end is Hydra's
``on_multirun_end``, a batch that is interrupted, or the program's end, where the sweeper itself has failed.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator

from ray_decorator.core.machine import at_exit
from ray_decorator.core.units import human_seconds
from ray_decorator.display.table import JobRow, show
from ray_decorator.run.shared_progress import SharedProgress

log = logging.getLogger(__name__)

_under_way: list[SweepReport] = []


class SweepReport:
    """The jobs of one sweep that have ended. ``many_batches``: the sweeper may call the launcher more than once."""

    def __init__(self, progress: SharedProgress, *, many_batches: bool) -> None:
        self.many_batches = many_batches
        self._progress = progress
        self._rows: dict[int, JobRow] = {}

    @contextlib.contextmanager
    def batch(self) -> Iterator[bool]:
        """A batch runs, the first one if that is True. Whatever is raised in it ends the sweep."""
        first = self not in _under_way
        if first:
            self._begin()
        try:
            yield first
        except BaseException:
            self.end()
            raise
        if not self.many_batches:
            self.end()

    def add(self, row: JobRow, name: str) -> None:
        """A job has ended; ``name`` is what the user sees of it. What a failed one has met was said already."""
        self._rows[row.number] = row
        if self.many_batches and row.status in ("COMPLETED", "RESUMED"):
            how = ", resumed" if row.status == "RESUMED" else ""
            log.info("%s: %s, %s%s", name, row.result, human_seconds(row.seconds), how)

    def _begin(self) -> None:
        end_all()  # one before it, whose sweeper has failed
        _end_with_the_program()
        _under_way.append(self)
        self._progress.show()

    def end(self) -> None:
        """Show the table, once."""
        if self in _under_way:
            _under_way.remove(self)
            self._progress.hide()
            rows, self._rows = self._rows, {}
            show([rows[number] for number in sorted(rows)])


def end_all() -> None:
    """The sweep that is under way in this process has ended."""
    for report in list(_under_way):
        report.end()


@functools.cache
def _end_with_the_program() -> None:
    at_exit.register(end_all)
