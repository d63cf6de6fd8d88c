"""Command lines of ours that messages quote."""

from __future__ import annotations

import os
import shlex


def fetch_command(what: str | os.PathLike[str], where: str | os.PathLike[str]) -> str:
    """Brings ``what`` (a path on this machine, or ``<store>/<digest>``) to the place ``where``: `run.data.fetch`."""
    return shlex.join(["ray-s3", "fetch", os.fspath(what), os.fspath(where)])
