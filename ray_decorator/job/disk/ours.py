"""All that is ours on this machine: what it takes, and what of it nobody needs now. It can be cleared.

    <cache home>/hashes.sqlite         md5s of files, what stores hold       emptied in place: others have it open
    <cache home>/store/                the store that is used where none is named
    <node root>/cache, idle, envs      what is kept for later jobs           (room.py)
    <node root>/jobs/                  scratch directories                   (scratch.py)
    <node root>/kept/                  outs that could not come home         with ``kept`` alone
    <node root>/runtime/               our own source, for Ray's workers     while no job is there
    /tmp/ray_s3_aws_…                  sockets of killed processes           (sockets.py)

Standard library only: it is asked on nodes, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ...content.hashes.hash_cache import HashCache, default_path
from ...core.errors import InputError
from ...core.machine.directories import cache_home, node_root, why_not_ours
from . import room, scratch, sockets

_MAY_BE_ASKED_FOR = 120.0  # seconds for which the driver may still rescue what a crashed job left
_KEPT_FOR_JOBS = {
    "cache": "files that jobs have read",
    "idle": "directories that jobs have read",
    "envs": "environments with a driver's packages",
}


class Ours(NamedTuple):
    """Of ours at ``path``: what it is, how many there are, their bytes, and why it stays ("" where it goes)."""

    path: str
    what: str
    number: int
    size: int
    stays: str = ""


def survey(*, kept: bool = False, driver: bool = True) -> list[Ours]:
    """What there is; with ``kept``, outs that could not come home are cleared as well.

    ``driver``: also what a driver keeps. Changes nothing but that attempts which are found dead are marked so.
    Raises InputError where one of these directories may not be used.
    """
    attempts = _attempts()
    busy = "stays: jobs run" if None in attempts.values() else ""
    unasked = "" if kept else "stays without --kept"
    drivers = _of_the_driver(unasked or busy) if driver else ()
    found = (*drivers, *_of_the_node(attempts, unasked, busy), *_sockets())
    return [one for one in found if one.number]


def clear(*, kept: bool = False, driver: bool = True) -> None:
    """Remove all that `survey` says goes, as far as it still does. Raises as that does."""
    gone = {one.path for one in survey(kept=kept, driver=driver) if not one.stays}
    root, home = Path(node_root()), cache_home()
    if str(default_path()) in gone:
        HashCache(default_path()).clear()
    if str(home / "store") in gone:
        shutil.rmtree(home / "store", ignore_errors=True)
    if root.is_dir():
        room.make_room()
        _clear_locks(root / "cache" / "locks")
        scratch.clear_dead(_MAY_BE_ASKED_FOR)
    outs = list((root / "kept").iterdir()) if kept and (root / "kept").is_dir() else []
    for path in (*outs, *(_sources(root) if str(root / "runtime") in gone else [])):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            room.discard(str(path))
    sockets.clear_dead()


def _attempts() -> Mapping[Path, float | None]:
    root = node_root()
    _refuse_what_others_can_write(root)
    return scratch.dead_for() if os.path.isdir(root) else {}


def _refuse_what_others_can_write(path: str) -> None:
    if (problem := why_not_ours(path)) is not None:
        raise InputError(problem)


def _of_the_driver(stays: str) -> Iterator[Ours]:
    _refuse_what_others_can_write(str(cache_home()))
    if (database := default_path()).exists():
        size = sum(_size(f"{database}{end}") for end in ("", "-wal", "-shm"))
        yield Ours(str(database), "known hashes of files", HashCache(database).count(), size)
    yield _folder(cache_home() / "store", "the store of runs that name none", stays)


def _of_the_node(attempts: Mapping[Path, float | None], unasked: str, busy: str) -> Iterator[Ours]:
    root = Path(node_root())
    if not root.is_dir():
        return
    found = room.kept()
    for name, what in _KEPT_FOR_JOBS.items():
        of_it = [one for one in found if one.path.startswith(f"{root / name}/")]
        yield Ours(str(root / name), what, len(of_it), sum(one.size for one in of_it))
    yield from _scratch(root, attempts, unasked)
    yield _folder(root / "kept", "outs that could not come home", unasked)
    sources = _sources(root)
    yield Ours(str(root / "runtime"), "our own source", len(sources), sum(map(room.size_of, sources)), busy)


def _sources(root: Path) -> list[Path]:
    """But the one that runs this."""
    own = Path(__file__).resolve().parents[3]
    with contextlib.suppress(FileNotFoundError):
        return [path for path in (root / "runtime").iterdir() if path.resolve() != own]
    return []


def _scratch(root: Path, attempts: Mapping[Path, float | None], unasked: str) -> Iterator[Ours]:
    def of(what: str, paths: list[Path], stays: str = "") -> Ours:
        return Ours(str(root / "jobs"), what, len(paths), sum(map(room.size_of, paths)), stays)

    yield of("running jobs", [path for path, dead in attempts.items() if dead is None], "stays")
    crashed = {path: dead for path, dead in attempts.items() if dead is not None}
    just = [path for path, dead in crashed.items() if dead < _MAY_BE_ASKED_FOR]
    long = [path for path in crashed if path not in just]
    outs = [path for path in long if scratch.has_written(path)]
    what = "left by jobs that crashed"
    yield of(what, just, f"stays for {_MAY_BE_ASKED_FOR:.0f} s: a driver may ask for it")
    yield of(f"{what}, with outs that are nowhere else", outs, unasked)
    yield of(what, [path for path in long if path not in outs])


def _clear_locks(folder: Path) -> None:
    """Those that nobody holds. Who waits for one of these fetches by itself."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError), open(entry.path) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(entry.path)


def _sockets() -> Iterator[Ours]:
    for path in sockets.dead_directories():
        yield Ours(path, "socket of a killed job", 1, 0)


def _folder(path: Path, what: str, stays: str) -> Ours:
    with contextlib.suppress(OSError):
        return Ours(str(path), what, len(os.listdir(path)), room.size_of(path), stays)
    return Ours(str(path), what, 0, 0, stays)


def _size(path: str) -> int:
    with contextlib.suppress(OSError):
        return os.lstat(path).st_blocks * 512
    return 0
