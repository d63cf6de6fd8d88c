"""A job's deps, brought to the paths where it reads them."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from ..content.hashes.hash_cache import HashCache, Stamp, default_path
from ..content.placing.move import copy
from ..core.progress import NoProgress
from ..core.units import human_size
from ..core.values.contents import Content
from ..core.values.model import Dep, Job
from ..store.transfer import pull
from .disk.cache import Checkout
from .disk.room import with_room
from .disk.scratch import Scratch
from .side import Side

_SAY_SECONDS = 2.0


class NoContent(Exception):
    """A dep is in no store yet, and not to be seen from here either."""


def stage_deps(
    job: Job, outs: Sequence[Path], scratch: Scratch, side: Side, copied: dict[str, Stamp]
) -> tuple[list[Path], int]:
    """Have each dep at its path, all of them side by side; the bytes that were fetched.

    ``copied`` takes what was copied from home for the job to write to.
    """
    if any(dep.content is None and not side.sees(dep) for dep in job.deps):
        raise NoContent
    paths = [_dep_path(dep, index, outs, scratch) for index, dep in enumerate(job.deps)]
    read: list[tuple[Content, Path]] = []
    written: list[Checkout] = []
    received = 0
    for dep, path in zip(job.deps, paths, strict=True):
        if dep.content is None:
            copied.update(with_room(partial(_copied_from_home, dep, path)))
            continue
        with_room(partial(path.parent.mkdir, parents=True, exist_ok=True))
        if dep.inside is None:
            read.append((dep.content, path))
        elif job.outs[dep.inside[0]].in_place is not None and path.exists():
            received += _made_right(dep.content, path, side)
        else:
            written.append(Checkout(dep.content, path, writable=True))
    with _told_if_slow([content for content, _ in read] + [each.content for each in written]):
        received += scratch.borrow(read, side.cache, side.store) if read else 0
        return paths, received + (side.cache.checkout(written, side.store) if written else 0)


@contextlib.contextmanager
def _told_if_slow(contents: Sequence[Content]) -> Iterator[None]:
    """Nothing else shows what a job waits for: to its driver it runs."""
    if not contents:
        yield
        return
    line = f"ray-s3: fetching {human_size(sum(each.size for each in contents))} of deps to {socket.gethostname()}"
    timer = threading.Timer(_SAY_SECONDS, print, [line], {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _dep_path(dep: Dep, index: int, outs: Sequence[Path], scratch: Scratch) -> Path:
    if dep.inside is not None:
        return outs[dep.inside[0]] / dep.inside[1]
    if dep.content is None and dep.home is not None:
        return Path(dep.home.path)
    return scratch.path / "deps" / str(index) / dep.name


def _made_right(content: Content, path: Path, side: Side) -> int:
    """Bring a dep to where it may lie already, at home: files that are right stay as they are, links of DVC's too."""
    return with_room(partial(pull, content, path, side.store, HashCache(default_path()), NoProgress()))


def _copied_from_home(dep: Dep, path: Path) -> Mapping[str, Stamp]:
    """A dep that the job may write to; nothing is copied for one that is read, or used, where it lies."""
    assert dep.home is not None
    if os.path.realpath(path) == os.path.realpath(dep.home.path):
        return {}
    path.parent.mkdir(parents=True, exist_ok=True)
    return copy(Path(dep.home.path), path)
