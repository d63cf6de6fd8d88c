"""The worker side: one job, read top to bottom.

run_job(func, job, store):  scratch directory -> deps down -> paths filled in -> func -> outs up
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
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle

from ..content.hash_cache import HashCache
from ..core.directories import node_root
from ..core.errors import MissingObjectError, PicklingError
from ..core.failures import failure_of
from ..core.machine import is_same_path
from ..core.model import Content, Failure, Job, Location, Receipt
from ..core.progress import NoProgress
from ..core.slots import fill
from ..store.renewal import Renew
from ..store.store import Store, open_store
from ..store.transfer import push, snapshot
from .cache import NodeCache
from .fresh_credentials import ask
from .process_state import restored
from .scratch import Scratch, attempts, job_root, open_scratch

log = logging.getLogger(__name__)


def serve(
    verb: str, func: bytes, job: bytes, store: bytes, credentials: bytes, broker: Any, node: str
) -> bytes:
    """Do ``verb`` in this process, for the Ray task `entry.enter`; the pickled Receipt.

    ``node`` is what the user sees of this one. ``broker`` has fresh credentials, None if these last.
    """
    renew = None if broker is None else functools.partial(ask, broker)
    receipt = serve_job(verb, func, job, location(store, credentials), renew, node)
    return pickle.dumps(receipt)


def location(store: bytes, credentials: bytes) -> Location:
    """Where the store is, with the credentials for it, which travel apart from it."""
    place: Location = pickle.loads(store)
    return replace(place, credentials=pickle.loads(credentials))


def serve_job(
    verb: str, func: bytes, job: bytes, store: Location, renew: Renew | None, node: str
) -> Receipt | None:
    """Do ``verb``, ``run`` or ``rescue``, for the pickled job and say what came of it.

    Never raises for what the job does (an exception, ``sys.exit``): that is data in the receipt.
    """
    try:
        opened = open_store(store, renew)
        loaded: Job = pickle.loads(job)
        receipt = run_job(func, loaded, opened) if verb == "run" else rescue(loaded, opened)
    except MissingObjectError as exc:
        receipt = Receipt(missing=exc.digests)
    except BaseException as exc:
        receipt = Receipt(failure=failure_of(exc))
    return replace(receipt, node=node) if receipt else None


def rescue(job: Job, store: Store) -> Receipt | None:
    """What a crashed job left on this node: its outs that come home in any case; None if nothing."""
    left = sorted(attempts(job.id), key=lambda path: path.stat().st_mtime)
    if not left:
        return None
    outs, sent, error = _send_outs(job, _out_paths(job, left[-1]), store, failed=True)
    if error is not None:
        raise error
    shutil.rmtree(job_root(job.id), ignore_errors=True)
    return Receipt(outs=outs, sent=sent)


def run_job(func: bytes, job: Job, store: Store) -> Receipt:
    """Run the pickled ``func`` for ``job``: deps down, the call, outs up."""
    with open_scratch(job.id) as scratch:
        outs = _out_paths(job, scratch.path)
        _make_out_parents(job, outs)
        dep_paths, received = _stage_deps(job, outs, scratch, store)
        with restored(job.cwd, job.sys_path, scratch.path):
            value, failure, seconds = _call(func, job, dep_paths, outs)
        contents, sent, unsent = _send_outs(job, outs, store, failed=failure is not None)
        if unsent is not None:
            scratch.keep()
            unsent.add_note(f"The job's outs are kept on node {socket.gethostname()} at {scratch.path}")
            failure = failure or failure_of(unsent)
        unwritten = tuple(out.key for out, path in zip(job.outs, outs, strict=True) if not path.exists())
    return Receipt(
        value=value,
        failure=failure,
        outs=contents,
        unwritten=() if failure else unwritten,
        seconds=seconds,
        sent=sent,
        received=received,
    )


def _out_paths(job: Job, root: Path) -> list[Path]:
    paths: list[Path] = []
    for index, out in enumerate(job.outs):
        if out.inside is not None:
            paths.append(paths[out.inside[0]] / out.inside[1])
        elif out.place is not None and is_same_path(out.place) and os.access(out.place.path, os.W_OK):
            paths.append(Path(out.place.path))
        else:
            paths.append(root / "outs" / str(index) / out.name)
    return paths


def _make_out_parents(job: Job, paths: list[Path]) -> None:
    for out, path in zip(job.outs, paths, strict=True):
        (path if out.directory else path.parent).mkdir(parents=True, exist_ok=True)


def _stage_deps(job: Job, outs: list[Path], scratch: Scratch, store: Store) -> tuple[list[Path], int]:
    cache = NodeCache(Path(node_root()) / "cache")
    paths, received = [], 0
    for index, dep in enumerate(job.deps):
        if dep.inside is None:
            path = scratch.path / "deps" / str(index) / dep.name
        else:
            path = outs[dep.inside[0]] / dep.inside[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        if dep.inside is None:
            received += scratch.borrow(dep.content, path, cache, store)
        else:
            received += cache.checkout(dep.content, path, store, writable=True)
        paths.append(path)
    return paths, received


def _call(
    func: bytes, job: Job, deps: list[Path], outs: list[Path]
) -> tuple[bytes | None, Failure | None, float]:
    started, process = time.monotonic(), os.getpid()
    try:
        function: Callable[..., Any] = pickle.loads(func)
        arguments: Any = pickle.loads(job.payload)
        for slot, path in _filled(job, deps, outs):
            arguments = fill(arguments, slot, str(path))
        args, kwargs = arguments["args"], arguments["kwargs"]
        started = time.monotonic()
        value = function(*args, **kwargs)
        _end_if_forked(process, None)
        seconds = time.monotonic() - started
        return _dump_value(value), None, seconds
    except BaseException as exc:
        _end_if_forked(process, exc)
        return None, failure_of(exc), time.monotonic() - started


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


def _filled(job: Job, deps: list[Path], outs: list[Path]) -> Iterator[tuple[tuple[str | int, ...], Path]]:
    yield from ((dep.slot, path) for dep, path in zip(job.deps, deps, strict=True))
    # outs last: a key in both is filled with the out, which its dep was staged into
    yield from ((out.slot, path) for out, path in zip(job.outs, outs, strict=True))


def _dump_value(value: Any) -> bytes:
    try:
        return bytes(cloudpickle.dumps(value))
    except Exception as exc:
        raise PicklingError(
            f"the task returned a {type(value).__name__}, which cannot be pickled ({exc}); "
            "return plain data, and write the rest to a path in outs"
        ) from exc


def _send_outs(
    job: Job, paths: list[Path], store: Store, *, failed: bool
) -> tuple[dict[int, Content], int, Exception | None]:
    """Push what the job wrote. A failed job's outs stay behind, but for those that come home in any case.

    An out that cannot be sent keeps none of the others: its error comes back.
    """
    hashes = HashCache.in_memory()
    contents: dict[int, Content] = {}
    sent, error = 0, None
    for index, (out, path) in enumerate(zip(job.outs, paths, strict=True)):
        in_place = out.place is not None and path == Path(out.place.path)
        if in_place or not path.exists() or (failed and not out.on_failure):
            continue
        try:
            taken = snapshot(path, hashes, NoProgress(), lenient=True)
            sent += push(taken, store, hashes, NoProgress())
            contents[index] = taken.content
        except Exception as exc:
            exc.add_note(f"{job.name} has run; this is of its out {out.key!r}")
            error = error or exc
    return contents, sent, error
