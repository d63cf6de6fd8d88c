"""The worker side: one job, read top to bottom.

    run_job(func, job):  scratch directory -> deps down -> paths filled in -> func -> outs up -> Receipt

A worker process serves many jobs one after another: whatever a job changes of it is put back.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import logging
import os
import pickle
import shutil
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import cloudpickle

from .checkouts import Checkouts
from .errors import MissingObjectError, PicklingError, text_of
from .hashcache import HashCache
from .model import Content, Failure, Job, Place, Receipt
from .nodecache import NodeCache
from .progress import NoProgress
from .slots import fill
from .store import Store, open_store
from .transfer import push, snapshot

log = logging.getLogger(__name__)

_ABANDONED_AFTER = 3600.0  # seconds; long enough for the driver to rescue what a crashed job left


def run_job(func: bytes, job: Job) -> Receipt:
    """Run the pickled ``func`` for ``job`` and say what came of it.

    Never raises for what the job does (an exception, ``sys.exit``): that is data in the receipt.
    """
    try:
        return _run(func, job)
    except MissingObjectError as exc:
        return Receipt(missing=exc.digests, node=socket.gethostname())
    except BaseException as exc:
        return Receipt(failure=_failure(exc), node=socket.gethostname())


def rescue(job: Job) -> Receipt | None:
    """What a crashed job left on this node: its outs that come home in any case; None if nothing."""
    attempts = sorted(_attempts(job.id), key=lambda path: path.stat().st_mtime)
    if not attempts:
        return None
    outs, sent = _send_outs(job, _out_paths(job, attempts[-1]), open_store(job.store), failed=True)
    shutil.rmtree(_job_root(job.id), ignore_errors=True)
    return Receipt(outs=outs, sent=sent, node=socket.gethostname())


def node_root() -> Path:
    """Where this node keeps its cache and the jobs' scratch directories; RAY_S3_NODE_DIR moves it."""
    named = os.environ.get("RAY_S3_NODE_DIR")
    return Path(named) if named else Path(tempfile.gettempdir()) / f"ray_s3_{os.getuid()}"


def _run(func: bytes, job: Job) -> Receipt:
    store = open_store(job.store)
    with _scratch(job.id) as scratch:
        outs = _out_paths(job, scratch.path)
        _make_out_parents(job, outs)
        dep_paths, received = _stage_deps(job, outs, scratch, store)
        with _process_restored(job, scratch):
            value, failure, seconds = _call(func, job, dep_paths, outs)
        try:
            contents, sent = _send_outs(job, outs, store, failed=failure is not None)
        except BaseException as exc:
            scratch.keep()
            exc.add_note(f"The job's outs are kept on node {socket.gethostname()} at {scratch.path}")
            raise
        unwritten = tuple(out.key for out, path in zip(job.outs, outs, strict=True) if not path.exists())
    return Receipt(
        value=value,
        failure=failure,
        outs=contents,
        unwritten=() if failure else unwritten,
        seconds=seconds,
        sent=sent,
        received=received,
        node=socket.gethostname(),
    )


class _Scratch:
    """One attempt's own directory; its lock tells the living from the abandoned."""

    def __init__(self, path: Path, lock: TextIO) -> None:
        self.path = path
        self.kept = False
        self._lock = lock
        self._checkouts = Checkouts(node_root() / "idle")
        self._borrowed: list[tuple[Content, Path, str]] = []

    def keep(self) -> None:
        self.kept = True

    def borrow(self, content: Content, path: Path, cache: NodeCache, store: Store) -> int:
        """Put content down at ``path`` for reading: an idle checkout if there is one, else a new one."""
        received, sealed = 0, self._checkouts.take(content, path)
        if sealed is None:
            received = cache.checkout(content, path, store, writable=False)
            sealed = self._checkouts.made(content, path)
        if sealed is not None:
            self._borrowed.append((content, path, sealed))
        return received

    def close(self) -> None:
        if not self.kept:
            for content, path, sealed in self._borrowed:
                self._checkouts.give(content, path, sealed)
            shutil.rmtree(self.path, ignore_errors=True)
            for lock in _locks(self.path.parent.name):  # of attempts that crashed before
                _remove_unless_alive(lock)
            with contextlib.suppress(OSError):  # another attempt of the same job is still there
                self.path.parent.rmdir()
        self._lock.close()


@contextlib.contextmanager
def _scratch(job_id: str) -> Iterator[_Scratch]:
    _clear_abandoned()
    root = _job_root(job_id)
    root.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="attempt-", dir=root))
    lock = open(path / ".lock", "w")  # noqa: SIM115 (held for as long as the attempt lives)
    fcntl.flock(lock, fcntl.LOCK_EX)
    scratch = _Scratch(path, lock)
    try:
        yield scratch
    finally:
        scratch.close()


def _job_root(job_id: str) -> Path:
    return node_root() / "jobs" / job_id


def _attempts(job_id: str) -> list[Path]:
    root = _job_root(job_id)
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []


def _clear_abandoned() -> None:
    """What crashed jobs left, once it is too old for the driver to ask for it."""
    for lock in _locks("*"):
        with contextlib.suppress(OSError):  # gone while we looked
            if time.time() - lock.stat().st_mtime >= _ABANDONED_AFTER:
                _remove_unless_alive(lock)


def _locks(job_id: str) -> list[Path]:
    # not Path.glob, which fails where a directory vanishes while it looks: other jobs come and go
    jobs = glob.escape(str(node_root() / "jobs"))
    return [Path(name) for name in glob.glob(os.path.join(jobs, job_id, "attempt-*", ".lock"))]


def _remove_unless_alive(lock: Path) -> None:
    with contextlib.suppress(OSError), open(lock) as held:  # a living attempt holds its lock
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(lock.parent, ignore_errors=True)


def _out_paths(job: Job, root: Path) -> list[Path]:
    paths: list[Path] = []
    for index, out in enumerate(job.outs):
        if out.inside is not None:
            paths.append(paths[out.inside[0]] / out.inside[1])
        elif out.place is not None and is_here(out.place):
            paths.append(Path(out.place.path))
        else:
            paths.append(root / "outs" / str(index) / out.name)
    return paths


def place_of(path: Path) -> Place | None:
    """The mark by which a worker recognises the directory ``path``; None where the system has no boot id."""
    boot_id = _boot_id()
    if boot_id is None:
        return None
    stat = path.stat()
    return Place(str(path), boot_id, stat.st_dev, stat.st_ino)


def is_here(place: Place) -> bool:
    """Whether this process stands before the very directory that ``place`` marks, and may write to it."""
    try:
        stat = os.stat(place.path)
    except OSError:
        return False
    same = (stat.st_dev, stat.st_ino) == (place.device, place.inode) and _boot_id() == place.boot_id
    return same and os.access(place.path, os.W_OK)


def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _make_out_parents(job: Job, paths: list[Path]) -> None:
    for out, path in zip(job.outs, paths, strict=True):
        (path if out.directory else path.parent).mkdir(parents=True, exist_ok=True)


def _stage_deps(job: Job, outs: list[Path], scratch: _Scratch, store: Store) -> tuple[list[Path], int]:
    cache = NodeCache(node_root() / "cache")
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
    started = time.monotonic()
    try:
        function: Callable[..., Any] = pickle.loads(func)
        arguments: Any = pickle.loads(job.payload)
        for slot, path in _filled(job, deps, outs):
            arguments = fill(arguments, slot, str(path))
        args, kwargs = arguments["args"], arguments["kwargs"]
        started = time.monotonic()
        value = function(*args, **kwargs)
        seconds = time.monotonic() - started
        return _dump_value(value), None, seconds
    except BaseException as exc:
        return None, _failure(exc), time.monotonic() - started


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


def _send_outs(job: Job, paths: list[Path], store: Store, *, failed: bool) -> tuple[dict[int, Content], int]:
    """Push what the job wrote. A failed job's outs stay behind, but for those that come home in any case."""
    hashes = HashCache.in_memory()
    contents: dict[int, Content] = {}
    sent = 0
    for index, (out, path) in enumerate(zip(job.outs, paths, strict=True)):
        in_place = out.place is not None and path == Path(out.place.path)
        if in_place or not path.exists() or (failed and not out.on_failure):
            continue
        taken = snapshot(path, hashes, NoProgress())
        sent += push(taken, store, hashes, NoProgress())
        contents[index] = taken.content
    return contents, sent


def _failure(exc: BaseException) -> Failure:
    text = "".join(traceback.format_exception(_without_our_frames(exc)))
    try:
        pickled: bytes | None = cloudpickle.dumps(exc)
        pickle.loads(pickled or b"")
    except Exception:  # an exception may hold anything; its text travels in any case
        pickled = None
    return Failure(pickled, f"{type(exc).__name__}: {text_of(exc)}", text)


def _without_our_frames(exc: BaseException) -> BaseException:
    tb = exc.__traceback__
    while tb is not None and tb.tb_next is not None and tb.tb_frame.f_code.co_filename == __file__:
        tb = tb.tb_next
    return exc.with_traceback(tb)


@contextlib.contextmanager
def _process_restored(job: Job, scratch: _Scratch) -> Iterator[None]:
    """The driver's working directory and import paths where they exist here; all as before afterwards."""
    cwd, environ, path = os.getcwd(), dict(os.environ), list(sys.path)
    umask = os.umask(0o022)
    os.umask(umask)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        os.chdir(job.cwd if os.path.isdir(job.cwd) else scratch.path)
        here = [entry for entry in job.sys_path if os.path.exists(entry)]
        sys.path[:] = here + [entry for entry in sys.path if entry not in here]
        yield
    finally:
        os.chdir(cwd)
        os.umask(umask)
        sys.path[:] = path
        if dict(os.environ) != environ:
            os.environ.clear()
            os.environ.update(environ)
        for handler in [h for h in root.handlers if h not in handlers]:
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
