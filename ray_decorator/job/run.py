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
import sys
import time
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ..content.hashes.hash_cache import Stamp
from ..core.errors import CorruptObjectError, MissingObjectError, PicklingError
from ..core.serialization import pickling
from ..core.serialization.failures import failure_of
from ..core.values.inherited import Inherited
from ..core.values.model import Failure, Job, Paths, Receipt
from ..core.values.private import Private
from ..core.values.returned import Value, value_of
from ..core.values.stores import Location
from ..store.transport.renewal import Renew
from .aws.fresh_credentials import ask
from .checkpoints import Checkpoints, begin_with_newest
from .deps import NoContent, stage_deps
from .disk.disk_errors import of_disk
from .disk.looks import Looks
from .disk.room import with_room
from .disk.scratch import Scratch, open_scratch
from .outs import bring_out, kept_back, make_out_parents, out_paths
from .process import exits
from .process.ending import noted
from .process.inheritance import take_over
from .process.leftovers import alone
from .process.output import Output, streams_restored
from .process.process_state import restored
from .receipts import interrupts_noted, leave, told
from .rescue import failed_home, logs_home, rescue
from .side import Side

log = logging.getLogger(__name__)

_UNRUN: Mapping[type, str] = {
    types.CoroutineType: "nothing of it has run: return asyncio.run(…) of it",
    types.GeneratorType: "nothing of it has run: return list(…) of it",
    types.AsyncGeneratorType: "nothing of it has run: return a list of what it yields",
}
"""What a task may return instead of running it, and what to do."""

_NOTHING = Inherited()
_T = TypeVar("_T")


def serve(verb: str, func: bytes, job: bytes, store: bytes, private: bytes, broker: Any, node: str) -> bytes:
    """Do ``verb`` in this process, on the driver's machine and in its Python; the pickled Receipt.

    ``node`` is what the user sees of this one. ``broker`` has fresh credentials, None if these last.
    """
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
        side = Side(store, renew, at_home)
        loaded: Job = replace(pickle.loads(job), inherited=inherited)
        receipt = run_job(func, loaded, side) if verb == "run" else rescue(loaded, side)
        if receipt is not None:
            leave(loaded, receipt, node, side)
    except (MissingObjectError, CorruptObjectError) as exc:
        receipt = Receipt(missing=exc.digests) if exc.digests else Receipt(failure=failure_of(exc))
    except NoContent:
        receipt = Receipt(lacks="content")
    except BaseException as exc:
        receipt = Receipt(failure=failure_of(of_disk(exc)))
    return replace(receipt, node=node) if receipt else None


def run_job(func: bytes, job: Job, side: Side) -> Receipt:
    """Run the pickled ``func`` for ``job``: deps in, the call, outs out."""
    with open_scratch(job.id) as scratch:
        outs = out_paths(job, scratch.path, side)
        with_room(lambda: make_out_parents(job, outs))
        copied: dict[str, Stamp] = {}
        deps, received = stage_deps(job, outs, scratch, side, copied)
        begin = begin_with_newest(job, outs, scratch.path, side)
        both = [path for out, path in zip(job.outs, outs, strict=True) if out.is_dep]
        looks = Looks(scratch.path, both, resumed=bool(begin.whose))
        checkpoints = Checkpoints(job, outs, side, looks, begin)
        try:
            with (
                restored(job.cwd, job.sys_path, scratch.path),
                side.aws_identity(job.inherited.profiles),
                looks,
                checkpoints,
                noted(scratch.path),
            ):
                take_over(job.inherited, at_home=side.at_home)
                os.environ["RAY_S3_ATTEMPT"] = str(job.attempt)
                output, marked = Output(), job.id if job.end_marks else None
                with interrupts_noted() as was_cancelled, streams_restored():
                    value, held, failure, seconds = _call(func, job, deps, outs)
                end_marks = output.end(marked)
            ended = told(held, failure) if job.entry is not None and not was_cancelled() else None
            ran = Receipt(
                value,
                failure,
                seconds=seconds,
                received=received + begin.received,
                end_marks=end_marks,
                told=ended,
            )
            if failure is None:
                left = _done(ran, job, outs, copied, scratch, side)
                if left.failure is None:
                    checkpoints.forget()
            elif not set(job.retry_on).isdisjoint(failure.kinds):
                ran = replace(ran, replaced=True, told=None)
                left = logs_home(ran, job, outs, scratch.path, side, scratch.keep)
            else:
                left = _despite_a_cancel(lambda: failed_home(ran, job, outs, scratch, side, looks.last()))
            return replace(left, end_marks=end_marks + output.end(marked))  # of warnings, say, about its outs
        except BaseException as exc:
            scratch.leave()
            return Receipt(failure=failure_of(of_disk(exc)), received=received, left=True)


def _done(
    ran: Receipt,
    job: Job,
    outs: Sequence[Path],
    copied: Mapping[str, Stamp],
    scratch: Scratch,
    side: Side,
) -> Receipt:
    """The receipt of a job that has done its work, once its outs are home or in the store, or kept here."""
    before = scratch.path
    unwritten = tuple(out.key for out, path in zip(job.outs, outs, strict=True) if not path.exists())
    sent = _despite_a_cancel(lambda: bring_out(job, outs, side, copied))
    ran = replace(ran, outs=sent.outs, sent=sent.bytes, unwritten=unwritten, healed=sent.healed)
    if sent.error is None:
        return ran
    if sent.kept:
        scratch.keep()
    error = kept_back(sent, before, scratch.path, at_home=side.at_home)
    return replace(ran, failure=failure_of(error), unwritten=(), told=None)


def _despite_a_cancel(bring: Callable[[], _T]) -> _T:
    """What a job has made leaves in any case. Ray cancels once; whoever will not wait kills this process."""
    try:
        return bring()
    except KeyboardInterrupt:
        return bring()


def _call(
    func: bytes, job: Job, deps: Sequence[Path], outs: Sequence[Path]
) -> tuple[bytes | None, Value, Failure | None, float]:
    """The pickled value, what a receipt holds of it, what went wrong, and the seconds that it took."""
    started, process = time.monotonic(), os.getpid()
    function: Any = None
    exits.begin()
    try:
        function = pickle.loads(func)
        paths = _paths(job, deps, outs)
        started = time.monotonic()
        around = getattr(function, "around", contextlib.nullcontext)  # until all that it started is done
        with around(), alone(job.name):
            value = getattr(function, "call", function)(job.payload, paths)
        _end_if_forked(process, None)
        seconds = time.monotonic() - started
        dumped, held = _dump_value(value), value_of(value) if job.entry is not None else Value()
        del value
        _forget(function, None)
        return dumped, held, None, seconds
    except BaseException as exc:
        _end_if_forked(process, exc)
        failure, seconds = failure_of(exc), time.monotonic() - started
        _forget(function, exc)
        return None, Value(), failure, seconds


def _forget(function: Any, error: BaseException | None) -> None:
    """What the call holds open is written, and finalizers run, as at the end of a program."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    if (forget := getattr(function, "forget", None)) is not None:
        forget()


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
