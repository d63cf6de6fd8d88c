"""What the user sees while it works.

workers, tests, calls inside other programs     NoProgress    nothing (core.progress)
a terminal                                      RichProgress  a line per phase, redrawn in place
elsewhere: a file, a pipe, a batch system       LogProgress   a log line per phase now and then
"""

from __future__ import annotations

import os
import sys

from .live import RichProgress
from .log_lines import LogProgress


def make_progress() -> RichProgress | LogProgress:
    """What suits stderr: live lines on a terminal that can redraw, else log lines."""
    if not sys.stderr.isatty() or not _terminal_lines():
        return LogProgress()
    from rich.console import Console  # lazy: it costs 50 ms, and most programs have no terminal

    return RichProgress() if Console(stderr=True).is_interactive else LogProgress()


def _terminal_lines() -> int:
    """0 where nobody has set a size, as in a container's terminal: its foot is not known."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).lines
    except (OSError, AttributeError):  # a stream of the user's own, which may have no file
        return 0
