"""Where nothing can be redrawn (a file, a pipe, a batch system): a log line per phase now and then.

What has no count is said where it takes a second or so, and again while it goes on, each time after twice as long.
"""

from __future__ import annotations

import logging
import time

from ..core.progress import Phase
from ..core.units import human_seconds, human_size
from .counts import Counting, Doing, Tally

log = logging.getLogger(__name__)

_TICK = 1.0
_LOG_SECONDS = 10.0
_FIRST_SECONDS = 3.0
"""After so long without a line there is one; none for jobs, which print themselves."""
_LOG_SHARE = 0.1
"""The longer a run lasts, the rarer its log lines: the pause is a tenth of the time spent so far."""


class LogProgress(Counting):
    """A log line per phase now and then, and a last one that sums the phase up."""

    def __init__(self) -> None:
        super().__init__(_TICK)
        self._logged: dict[Phase, tuple[int, int]] = {}
        self._due: dict[Phase, float] = {}
        self._said: dict[str, float] = {}
        self._began = time.monotonic()

    def _show(self) -> None:
        now = time.monotonic()
        for doing in self.under_way():
            self._log_doing(doing, now - doing.since)
        pause = max(_LOG_SECONDS, _LOG_SHARE * (now - self._began))
        for tally in self.tallies():
            silent = pause if tally.phase == "running" else _FIRST_SECONDS - _TICK - tally.seconds
            if now >= self._due.setdefault(tally.phase, now + silent) and self._log_news(tally):
                self._due[tally.phase] = now + pause

    def _close(self) -> None:
        for tally in self.tallies():
            self._log_news(tally)

    def _log_doing(self, doing: Doing, seconds: float) -> None:
        """Log it the first time, and then when it has taken so long that it is due again."""
        due = self._said.get(doing.what)
        if due is None or seconds >= due:
            self._said[doing.what] = max(_FIRST_SECONDS, 2 * seconds)
            if due is None:
                log.info("%s", doing.what[:1].upper() + doing.what[1:])
            else:
                log.info("Still %s (%s)", doing.what, human_seconds(seconds))

    def _log_news(self, tally: Tally) -> bool:
        """Log the tally, unless nothing was done since its last log line; return whether it was logged."""
        done = (tally.items_done, tally.size_done)
        news = done != self._logged.get(tally.phase, (0, 0))
        if news:
            self._logged[tally.phase] = done
            log.info("%s: %s", tally.phase, _line(tally))
        return news


def _line(tally: Tally) -> str:
    noun = ("job" if tally.phase == "running" else "file") + ("" if tally.items == 1 else "s")
    if tally.finished:
        items, size = f"{tally.items_done} {noun}", human_size(tally.size_done)
    else:
        items = f"{tally.items_done} of {tally.items} {noun}"
        size = f"{human_size(tally.size_done)} of {human_size(tally.size)}"
    parts = [items, size if tally.size_done else "", human_seconds(tally.seconds), tally.rate]
    return ", ".join(part for part in parts if part)
