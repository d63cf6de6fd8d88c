"""The cache's own copies of what a job fetched: made by a process of their own, while the job runs.

It gives way to jobs, and may outlive the one that started it. It holds the content's lock, so that jobs that
wait for the same content find it in the cache. If it fails, or cannot start, somebody fetches once more.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...content.hashes.hash_cache import Hashed, Stamp
from ...content.manifest import md5_of_file
from ...content.placing.reflink import copy_bytes
from ...content.temporary import beside, clear_stale
from .room import has_room
from .seals import is_sealed, seal

log = logging.getLogger(__name__)

_NICENESS = 10  # about a tenth of a processor where jobs want all of it; others may be waiting for the copies
_LONGEST = 3600  # seconds
_START_SECONDS = 10.0
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from ray_decorator.job.disk import cache_filling; "
    "cache_filling.main(int(sys.argv[2]))"
)


class Copy(NamedTuple):
    """A file of a job's, and the entry to be made of it while it is what was fetched."""

    fetched: Hashed
    entry: str


def start(copies: Sequence[Copy], locks: Sequence[int]) -> None:
    """Have the copies made in the background. The process holds the open files ``locks`` for so long."""
    command = [sys.executable, "-I", "-c", _PROGRAM, str(Path(__file__).parents[3])]
    try:
        with tempfile.TemporaryFile() as listed:
            listed.write(json.dumps(copies).encode("ascii"))
            listed.seek(0)
            subprocess.run(
                # through a shell that ends at once: a job that waits for any child must not find this one
                ["/bin/sh", "-c", '"$@" &', "sh", *command, str(listed.fileno())],
                pass_fds=(listed.fileno(), *locks),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                timeout=_START_SECONDS,
                check=True,
            )
    except (OSError, subprocess.SubprocessError) as exc:
        log.debug("the cache does not keep what was fetched: %s", exc)


def main(listed: int) -> None:
    """Make the copies that the open file ``listed`` names. Runs in the process that `start` started."""
    signal.alarm(_LONGEST)
    os.nice(_NICENESS)
    with open(listed, "rb") as file:
        rows = json.load(file)
    fill([Copy(Hashed(path, Stamp(*stamp), md5, racy), entry) for (path, stamp, md5, racy), entry in rows])


def fill(copies: Sequence[Copy]) -> None:
    """Make an entry of each file that still is what was fetched."""
    folders = {os.path.dirname(copy.entry) for copy in copies}
    for folder in folders:
        os.makedirs(folder, exist_ok=True, mode=0o700)
    clear_stale(folders)
    for fetched, entry in copies:
        with contextlib.suppress(OSError):  # the job has removed it, or the disk is full
            if not is_sealed(entry):
                _keep(fetched, entry)


def _keep(fetched: Hashed, entry: str) -> None:
    if Stamp.of(os.lstat(fetched.path)) != fetched.stamp:
        return
    if not has_room(os.path.dirname(entry), fetched.stamp.size):
        return
    temporary = beside(entry)
    copy_bytes(fetched.path, temporary, 0o600)
    try:
        if md5_of_file(temporary) == fetched.md5:  # nobody but us can change it now
            seal(temporary)
            os.replace(temporary, entry)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
