"""Levels in colour, for ``hydra/job_logging``."""

from __future__ import annotations

import logging

_COLOURS = {"INFO": "32", "WARNING": "33", "ERROR": "31"}


class Coloured(logging.Formatter):
    """Puts the level's colour around a line."""

    def format(self, record: logging.LogRecord) -> str:
        """As logging's, in colour."""
        return f"\033[{_COLOURS.get(record.levelname, '0')}m{super().format(record)}\033[0m"
