"""A job is done once what it printed is here: its receipt waits for the end marks in its own output.

For 2 s at the most: what comes later is shown when it comes, and is in the job's log. See job.process.output.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any

from ..core.values.model import END_MARK
from .ray_api import output_source

_SECONDS = 2.0
# what Ray Client puts before a line, in a colour or not
_LABEL = re.compile(r"(\x1b\[\d*m)*\(.*?pid=\d+(, ip=[^)]*)?\)(\x1b\[\d*m)* ")
_COLOUR = re.compile(r"\x1b\[\d*m")
_CLIENT_STDERR = -2  # the level of what comes from there


class Printed:
    """The end marks that have come. Its verbs may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._come: Counter[str] = Counter()
        self._waiting: dict[str, tuple[int, Callable[[], None]]] = {}
        self._any_came = self._in_vain = False

    def came(self, jobs: Collection[str]) -> None:
        """These jobs' end marks have come, after all that was printed before them."""
        with self._lock:
            if jobs:
                self._any_came, self._in_vain = True, False
            self._come.update(jobs)
            ready = [job for job in dict.fromkeys(jobs) if job in self._waiting and self._is_whole(job)]
        for job in ready:
            self._go_on(job)

    def when_whole(self, job: str, marks: int, then: Callable[[], None]) -> None:
        """Call ``then`` once so many end marks of the job have come, or it was waited for long enough."""
        with self._lock:
            self._waiting[job] = (marks, then)
            # where nothing of what workers print is ever shown, no job waits a second time
            at_once = self._is_whole(job) or self._in_vain
        if at_once:
            self._go_on(job)
            return
        timer = threading.Timer(_SECONDS, self._too_late, [job])
        timer.daemon = True
        timer.start()

    def _is_whole(self, job: str) -> bool:
        return self._come[job] >= self._waiting[job][0]

    def _too_late(self, job: str) -> None:
        with self._lock:
            self._in_vain = not self._any_came
        self._go_on(job)

    def _go_on(self, job: str) -> None:
        with self._lock:
            _, then = self._waiting.pop(job, (0, None))
            self._come.pop(job, None)
        if then is not None:
            then()


_all = Printed()  # what Ray shows of workers is the process's, whatever its sessions


def listen() -> Printed | None:
    """Take the end marks out of what this process's Ray shows of workers; None where it shows nothing."""
    if (source := output_source()) is None:
        return None
    owner, name = source
    show = getattr(owner, name)
    if not hasattr(show, "__wrapped__"):
        setattr(owner, name, _without_marks(show))
    return _all


def _without_marks(show: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(show)
    def shows(*arguments: Any, **named: Any) -> None:
        if "msg" in named:
            *texts, rest = named["msg"].split("\n")
            lines, jobs = _parted(map(_labelled, texts), _is_drawn(named.get("level") == _CLIENT_STDERR))
            show(*arguments, **{**named, "msg": "".join(f"{line}\n" for line in lines) + rest})
        else:
            texts, is_stderr = arguments[0]["lines"], bool(arguments[0].get("is_err"))
            lines, jobs = _parted((("", line) for line in texts), _is_drawn(is_stderr))
            show({**arguments[0], "lines": lines})
        _flush()
        _all.came(jobs)

    return shows


def _parted(lines: Iterable[tuple[str, str]], drawn: bool) -> tuple[list[str], list[str]]:
    """What is to be shown of these labels and lines, without end marks, and the ids of the jobs of such marks."""
    kept: list[str] = []
    jobs: list[str] = []
    for label, line in lines:
        text, mark, job = line.partition(END_MARK)
        if mark:
            jobs.append(job.strip())
        if text or not mark:
            kept.append(label + _uncovered(text) if drawn else _COLOUR.sub("", label) + text)
    return kept, jobs


def _labelled(line: str) -> tuple[str, str]:
    label = _LABEL.match(line)
    return (label[0], line[label.end() :]) if label else ("", line)


def _uncovered(text: str) -> str:
    """What carriage returns leave to be seen, as of a progress bar: they would lead into the job's label."""
    return next((part for part in reversed(text.split("\r")) if part), "")


def _is_drawn(is_stderr: bool) -> bool:
    """Whether a terminal shows it; into a file or a pipe all goes as it is, but for Ray's own colours."""
    with contextlib.suppress(Exception):  # whatever the program has put there
        return bool((sys.stderr if is_stderr else sys.stdout).isatty())
    return False


def _flush() -> None:
    """Ray leaves it to Python, which writes to a pipe or a file in blocks."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # whatever the program has put there
            stream.flush()
