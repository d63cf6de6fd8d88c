"""The worker side: one job, read top to bottom.

serve_job(…):  scratch directory -> deps to their paths -> func(payload, paths) -> outs to the store, or home

Where the embedded default is used and this is the driver's own machine and Python, nothing travels: deps are read
where they lie, and outs are moved to their places.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pickle
import shutil
import socket
import sys
import time
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..content.hash_cache import HashCache, Stamp
from ..content.move import copy, move_all, move_aside
from ..core import pickling
from ..core.commands import fetch_command
from ..core.directories import node_directory
from ..core.errors import CorruptObjectError, HomeError, InputError, MissingObjectError, PicklingError
from ..core.failures import failure_of
from ..core.inherited import Inherited
from ..core.machine import is_same_path
from ..core.model import Content, Dep, Failure, Job, Location, Out, Paths, Receipt
from ..core.private import Private
from ..core.progress import NoProgress
from ..store.renewal import Renew
from ..store.store import Store, open_store
from ..store.transfer import Snapshot, push, push_all, snapshot
from . import aws_identity, reaper
from .cache import Checkout, NodeCache
from .fresh_credentials import ask
from .inheritance import take_over
from .leftovers import alone
from .output import Output
from .process_state import restored
from .scratch import Scratch, attempts, job_root, open_scratch

log = logging.getLogger(__name__)

_UNRUN: Mapping[type, str] = {
    types.CoroutineType: "nothing of it has run: return asyncio.run(…) of it",
    types.GeneratorType: "nothing of it has run: return list(…) of it",
    types.AsyncGeneratorType: "nothing of it has run: return a list of what it yields",
}
"""What a task may return instead of running it, and what to do."""

_NOTHING = Inherited()


def serve(verb: str, func: bytes, job: bytes, store: bytes, private: bytes, broker: Any, node: str) -> bytes:
    """Do ``verb`` in this process, on the driver's machine and in its Python; the pickled Receipt.

    ``node`` is what the user sees of this one. ``broker`` has fresh credentials, None if these last.
    """
    reaper.watch()
    renew = None if broker is None else functools.partial(ask, broker)
    place, inherited = opened(store, private)
    receipt = serve_job(verb, func, job, place, renew, node, inherited, at_home=True)
    return pickle.dumps(receipt)


def opened(store: bytes, private: bytes) -> tuple[Location, Inherited]:
    """Where the store is, with the credentials for it, and what the job inherited: both travel in a `Private`."""
    place: Location = pickle.loads(store)
    given: Private = pickle.loads(private)
    return replace(place, credentials=given.credentials), given.inherited


def serve_job(
    verb: str,
    func: bytes,
    job: bytes,
    store: Location,
    renew: Renew | None,
    node: str,
    inherited: Inherited = _NOTHING,
    *,
    at_home: bool = False,
) -> Receipt | None:
    """Do ``verb``, ``run`` or ``rescue``, for the pickled job and say what came of it.

    ``at_home``: this process runs on the driver's machine, in its Python. Never raises for what the job does
    (an exception, ``sys.exit``): that is data in the receipt.
    """
    try:
        side = _Side(store, renew, at_home)
        loaded: Job = replace(pickle.loads(job), inherited=inherited)
        receipt = run_job(func, loaded, side) if verb == "run" else rescue(loaded, side)
    except (MissingObjectError, CorruptObjectError) as exc:
        receipt = Receipt(missing=exc.digests) if exc.digests else Receipt(failure=failure_of(exc))
    except _NoContent:
        receipt = Receipt(lacks="content")
    except BaseException as exc:
        receipt = Receipt(failure=failure_of(exc))
    return replace(receipt, node=node) if receipt else None


class _NoContent(Exception):
    """A dep is in no store yet, and not to be seen from here either."""


class _Side:
    """This process's way to deps and outs: the store, opened when it is needed, and the driver's own disk."""

    def __init__(self, store: Location, renew: Renew | None, at_home: bool) -> None:
        self._location, self._renew, self._at_home = store, renew, at_home

    @functools.cached_property
    def store(self) -> Store:
        return open_store(self._location, self._renew)

    @functools.cached_property
    def cache(self) -> NodeCache:
        return NodeCache(node_directory("cache"))

    def aws_identity(self) -> contextlib.AbstractContextManager[None]:
        """What boto3 finds in the job: see aws_identity.py."""
        return aws_identity.in_force(self._location, self._renew, at_home=self._at_home)

    def sees(self, dep: Dep) -> bool:
        """Whether the dep can be read where it lies at home."""
        return self._at_home and dep.home is not None and is_same_path(dep.home)

    def reaches(self, out: Out) -> bool:
        """Whether the out can be moved to its place at home."""
        return self._at_home and out.home is not None and is_same_path(out.home.nearest)


_Stuck = tuple[Exception, Path, Path]
"""What is wrong with an out that is not at home, where it is, and where it belongs."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """What became of a job's outs. ``error`` is the first that met one of them."""

    outs: Mapping[int, Content]
    bytes: int
    error: Exception | None
    kept: bool = False  # one of them could not be sent, and is here still
    stuck: tuple[_Stuck, ...] = ()  # of those, what belongs to a place on this machine


def rescue(job: Job, side: _Side) -> Receipt | None:
    """What a crashed job left on this node: its outs that come home in any case; None if nothing.

    What is replaced by another attempt is cleared away.
    """
    left = sorted(attempts(job.id), key=lambda path: path.stat().st_mtime)
    if not left:
        return None
    if job.replaced:
        shutil.rmtree(job_root(job.id), ignore_errors=True)
        return Receipt()
    sent = _bring_out(job, _out_paths(job, left[-1], side), side, failed=True)
    if sent.error is not None:
        raise sent.error
    shutil.rmtree(job_root(job.id), ignore_errors=True)
    return Receipt(outs=sent.outs, sent=sent.bytes)


def run_job(func: bytes, job: Job, side: _Side) -> Receipt:
    """Run the pickled ``func`` for ``job``: deps in, the call, outs out."""
    with open_scratch(job.id) as scratch:
        before = scratch.path
        outs = _out_paths(job, scratch.path, side)
        _make_out_parents(job, outs)
        copied: dict[str, Stamp] = {}
        deps, received = _stage_deps(job, outs, scratch, side, copied)
        with restored(job.cwd, job.sys_path, scratch.path), side.aws_identity():
            take_over(job.inherited)
            os.environ["RAY_S3_ATTEMPT"] = str(job.attempt)
            output = Output()
            value, failure, seconds = _call(func, job, deps, outs)
            end_marks = output.end(job.id if job.end_marks else None)
        if failure is not None and not set(job.retry_on).isdisjoint(failure.kinds):
            return Receipt(
                failure=failure, seconds=seconds, received=received, end_marks=end_marks, replaced=True
            )
        written = [path.exists() for path in outs]
        try:
            sent = _bring_out(job, outs, side, copied, failed=failure is not None)
        except BaseException:
            scratch.keep()
            raise
        if sent.error is not None:
            error = _kept(sent, scratch, before) if sent.kept else sent.error
            failure = failure or failure_of(error or sent.error)
        unwritten = tuple(out.key for out, is_there in zip(job.outs, written, strict=True) if not is_there)
    return Receipt(
        value=value,
        failure=failure,
        outs=sent.outs,
        unwritten=() if failure else unwritten,
        seconds=seconds,
        sent=sent.bytes,
        received=received,
        end_marks=end_marks,
    )


def _kept(sent: _Sent, scratch: Scratch, before: Path) -> Exception | None:
    """Leave the scratch behind; the error of what is in it, with the commands that bring it later."""
    scratch.keep()
    told = []
    for problem, path, home in sent.stuck:
        kept = scratch.path / path.relative_to(before) if path.is_relative_to(before) else path
        how = f"{problem}. On node {socket.gethostname()}, bring it later with: {fetch_command(kept, home)}"
        told.append(_kind(problem)(how))
    error = _as_one(told) or sent.error
    if error is not None:
        error.add_note(f"The job's outs are kept on node {socket.gethostname()} at {scratch.path}")
    return error


def _as_one(problems: Sequence[Exception]) -> Exception | None:
    if len(problems) < 2:
        return next(iter(problems), None)
    return HomeError(f"{len(problems)} outs did not come home: {'; '.join(map(str, problems))}")


def _kind(error: Exception) -> type[InputError] | type[HomeError]:
    return InputError if isinstance(error, InputError) else HomeError


def _out_paths(job: Job, root: Path, side: _Side) -> list[Path]:
    tops = [
        _in_place(job, out) or root / "outs" / str(index) / out.name for index, out in enumerate(job.outs)
    ]
    return [
        path if out.inside is None else tops[out.inside[0]] / out.inside[1]
        for path, out in zip(tops, job.outs, strict=True)
    ]


def _in_place(job: Job, out: Out) -> Path | None:
    place = out.in_place
    if place is None or job.user != os.getuid() or not is_same_path(place):
        return None
    return Path(place.path) if os.access(place.path, os.W_OK) else None


def _make_out_parents(job: Job, paths: Sequence[Path]) -> None:
    for out, path in zip(job.outs, paths, strict=True):
        (path if out.directory else path.parent).mkdir(parents=True, exist_ok=True)


def _stage_deps(
    job: Job, outs: Sequence[Path], scratch: Scratch, side: _Side, copied: dict[str, Stamp]
) -> tuple[list[Path], int]:
    """Have each dep at its path, all of them side by side; the bytes that were fetched.

    ``copied`` takes what was copied from home for the job to write to.
    """
    if any(dep.content is None and not side.sees(dep) for dep in job.deps):
        raise _NoContent
    paths = [_dep_path(dep, index, outs, scratch) for index, dep in enumerate(job.deps)]
    read: list[tuple[Content, Path]] = []
    written: list[Checkout] = []
    for dep, path in zip(job.deps, paths, strict=True):
        if dep.content is None:
            copied.update(_copied_from_home(dep, path))
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if dep.inside is None:
            read.append((dep.content, path))
        else:
            written.append(Checkout(dep.content, path, writable=True))
    received = scratch.borrow(read, side.cache, side.store) if read else 0
    return paths, received + (side.cache.checkout(written, side.store) if written else 0)


def _dep_path(dep: Dep, index: int, outs: Sequence[Path], scratch: Scratch) -> Path:
    if dep.inside is not None:
        return outs[dep.inside[0]] / dep.inside[1]
    if dep.content is None and dep.home is not None:
        return Path(dep.home.path)
    return scratch.path / "deps" / str(index) / dep.name


def _copied_from_home(dep: Dep, path: Path) -> Mapping[str, Stamp]:
    """A dep that the job may write to; nothing is copied for one that is read, or used, where it lies."""
    assert dep.home is not None
    if os.path.realpath(path) == os.path.realpath(dep.home.path):
        return {}
    path.parent.mkdir(parents=True, exist_ok=True)
    return copy(Path(dep.home.path), path)


def _call(
    func: bytes, job: Job, deps: Sequence[Path], outs: Sequence[Path]
) -> tuple[bytes | None, Failure | None, float]:
    started, process = time.monotonic(), os.getpid()
    try:
        function: Callable[[bytes, Paths], Any] = pickle.loads(func)
        paths = _paths(job, deps, outs)
        started = time.monotonic()
        with alone(job.name):
            value = function(job.payload, paths)
        _end_if_forked(process, None)
        seconds = time.monotonic() - started
        return _dump_value(value), None, seconds
    except BaseException as exc:
        _end_if_forked(process, exc)
        return None, failure_of(exc), time.monotonic() - started


def _paths(job: Job, deps: Sequence[Path], outs: Sequence[Path]) -> Paths:
    written = [str(path) for path in outs]
    workspace = written.pop() if job.has_workspace else None
    return Paths(tuple(map(str, deps)), tuple(written), workspace)


def _end_if_forked(process: int, error: BaseException | None) -> None:
    """A child that the job forked, and that has come out of it, ends as Python ends it: it is not the job."""
    if os.getpid() == process:
        return
    code = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        traceback.print_exception(error)
    with contextlib.suppress(Exception):  # a closed stdout, say
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code & 0xFF)


def _dump_value(value: Any) -> bytes:
    try:
        return pickling.pickled(value)
    except Exception as exc:
        cure = _UNRUN.get(type(value), "return plain data, and write the rest to a path in outs")
        raise PicklingError(
            f"the task returned a {type(value).__name__}, which cannot be pickled ({exc}); {cure}"
        ) from exc


def _bring_out(
    job: Job, paths: Sequence[Path], side: _Side, copied: Mapping[str, Stamp] | None = None, *, failed: bool
) -> _Sent:
    """Move home, or push, what the job wrote. A failed job's outs stay behind, but for those that come in any case.

    An out that cannot leave keeps none of the others. ``copied`` are files that were put there for the job.
    """
    wanted = [
        (index, out, path)
        for index, (out, path) in enumerate(zip(job.outs, paths, strict=True))
        if path.exists() and (out.on_failure or not failed) and not _is_in_place(out, path)
    ]
    near = {index: (out, path) for index, out, path in wanted if side.reaches(out)}
    sent = _push(job, [item for item in wanted if item[0] not in near], side)
    # what lies in another one goes with that
    alone = [each for each in near.values() if each[0].inside is None or each[0].inside[0] not in near]
    stuck = _move_home(job, alone, copied or {})
    left = tuple(each for each in stuck if not isinstance(each[0], _Aside))
    error = _as_one([problem for problem, _, _ in stuck]) or sent.error
    return replace(sent, error=error, kept=sent.kept or bool(left), stuck=left)


class _Aside(InputError):
    """Something is in the way of an out; it was put beside its place."""

    def __reduce__(self) -> Any:
        return InputError, (self.problems,)


def _is_in_place(out: Out, path: Path) -> bool:
    return out.in_place is not None and path == Path(out.in_place.path)


def _move_home(job: Job, outs: Sequence[tuple[Out, Path]], copied: Mapping[str, Stamp]) -> list[_Stuck]:
    """Move outs to their places; what is wrong with those that are not there now, and where each is and belongs."""
    # what is below a directory that is used in place is there already
    away = [(out, path, Path(out.home.path)) for out, path in outs if out.home is not None]
    away = [each for each in away if os.path.realpath(each[1]) != os.path.realpath(each[2])]
    errors = move_all([(path, home) for _, path, home in away], copied)
    return [
        (_stuck(out, path, home, error), path, home)
        for (out, path, home), error in zip(away, errors, strict=True)
        if error is not None
    ]


def _stuck(out: Out, path: Path, home: Path, error: Exception) -> Exception:
    problem: object = error
    if isinstance(error, InputError):
        try:
            aside = move_aside(path, home)
            return _Aside(f"outs key {out.key!r}: {error}. What the job wrote is at {aside}")
        except Exception as exc:
            problem = f"{error}; nor beside it: {exc}"
    if isinstance(error, OSError) and error.strerror:
        problem = error.strerror
    return _kind(error)(f"outs key {out.key!r}: what the job wrote cannot be brought to {home} ({problem})")


def _push(job: Job, outs: Sequence[tuple[int, Out, Path]], side: _Side) -> _Sent:
    """Hash and push them all as one batch; where that fails, one by one, so that each that can goes."""
    if not outs:
        return _Sent({}, 0, None)
    hashes = HashCache.in_memory()
    taken: dict[int, Snapshot] = {}
    error: Exception | None = None
    for index, out, path in outs:
        try:
            taken[index] = snapshot(path, hashes, NoProgress(), lenient=True)
        except Exception as exc:
            error = error or _of_out(exc, job, out)
    sent, pushed = 0, dict(taken)
    try:
        # not trusted: once the scratch is removed, nobody else has these bytes
        sent = sum(push_all(list(taken.values()), side.store, hashes, NoProgress(), trust=False))
    except Exception:
        for index, each in taken.items():
            try:
                sent += push(each, side.store, hashes, NoProgress(), trust=False)
            except Exception as exc:
                del pushed[index]
                error = error or _of_out(exc, job, job.outs[index])
    return _Sent({index: each.content for index, each in pushed.items()}, sent, error, kept=error is not None)


def _of_out(error: Exception, job: Job, out: Out) -> Exception:
    error.add_note(f"{job.name} has run; this is of its out {out.key!r}")
    return error
