"""What a running job has written of its keys in both deps and outs goes to the store: another attempt begins with it.

    <base>/ray_s3/checkpoints/<job>/<attempt>/files/md5/…    the files' bytes, of the newest checkpoint alone
    <base>/ray_s3/checkpoints/<job>/<attempt>.json           their contents, written last (core.records.Checkpoint)

Only whole files are taken. One that is not whole now is there as it was in the checkpoint before. One that the job
has not changed is not there: an attempt begins with what is at home, and with the checkpoint over that. A checkpoint
has files of one attempt alone.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..content.hashes.hash_cache import HashCache
from ..content.hashes.hashing import Md5s, hash_files
from ..content.looking.look import look
from ..content.looking.snapshot import Snapshot, made_of_md5s
from ..content.manifest import object_key
from ..content.placing.move import move_all
from ..content.threads import each
from ..core.errors import CorruptObjectError, InputError, MissingObjectError, RayS3Error
from ..core.progress import NoProgress
from ..core.records.records import (
    CHECKPOINTS,
    Begun,
    Checkpoint,
    begun_key,
    checkpoint_area,
    checkpoint_key,
    dump,
)
from ..core.values.contents import Content
from ..core.values.model import Job
from ..store.last_checkpoint import family, newest, of_an_earlier_run
from ..store.transfer import push
from .disk.cache import Checkout
from .disk.looks import Looks, Seen
from .side import Side

log = logging.getLogger(__name__)

_ENDING_SECONDS = 5.0

_running: list[Checkpoints] = []


def checkpoint() -> bool:
    """Inside a job: bring what it has written of its keys in both deps and outs to the store, now.

    If the job crashes, or its node is lost, its next attempt (``max_retries``) begins with these files. To be called
    while none of them is half written; files that are open for writing are as in the checkpoint before.

    Returns whether the checkpoint is in the store. False where there is nothing to do, as in a run without Ray or in
    a process that the job has started, and where the store cannot be written, which a warning says.
    """
    return any([one.save_now() for one in _running])


class Checkpoints:
    """Makes checkpoints while the block lasts: each ``job.checkpoint_interval`` seconds, and when it is told to."""

    def __init__(self, job: Job, outs: Sequence[Path], side: Side, looks: Looks, begin: Begin) -> None:
        self._job, self._side, self._looks, self._begin = job, side, looks, begin
        self._places = places_of(job, outs)
        self._hashes = HashCache.in_memory()
        self._area = checkpoint_area(family(job), job.attempt)
        self._known: dict[int, dict[str, str]] = {}
        self._held: set[str] = set()
        self._saved: Mapping[int, Content] = {}
        self._process = os.getpid()
        self._lock, self._end = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="ray-s3-checkpoints", daemon=True)

    def __enter__(self) -> Checkpoints:
        if self._places:
            _running.append(self)
            if self._job.checkpoint_interval is not None:
                self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self in _running:
            _running.remove(self)
        if self._thread.ident is not None:
            self._thread.join(
                _ENDING_SECONDS
            )  # an upload takes no longer than the job's own end wants to wait

    def save_now(self) -> bool:
        """Make one of all that is not open for writing; whether it is in the store."""
        if os.getpid() != self._process:  # a child has no way to the store
            return False
        return self._save(self._looks.now())

    def forget(self) -> None:
        """The job has done its work: nobody begins with its checkpoints any more."""
        if not self._saved and not self._begin.whose:
            return
        job, store = self._job, self._side.store
        try:
            for name in {family(job), *self._begin.whose.split("/")[1:2]}:
                for page in store.list(f"{CHECKPOINTS}/{name}/"):
                    each(store.delete, [key for key, _ in page], store.threads)
            if job.entry is not None and job.entry.begins_as:
                store.delete(begun_key(job.entry.begins_as))
        except RayS3Error as exc:
            log.debug("%s: its checkpoints stay in the store: %s", job.name, exc)

    def _run(self) -> None:
        while not self._end.wait(self._job.checkpoint_interval):
            self._save(self._looks.seen)

    def _save(self, seen: Seen) -> bool:
        try:
            with self._lock:
                return self._saved_all(seen)
        except Exception as exc:  # whatever it is, the job goes on
            if not self._end.is_set():
                log.warning("%s: no checkpoint could be made: %s", self._job.name, exc)
            return False

    def _saved_all(self, seen: Seen) -> bool:
        found = {index: self._content(index, path, seen) for index, path in self._places.items()}
        contents = {index: content for index, content in found.items() if content is not None}
        if contents == self._saved or self._end.is_set():
            return bool(contents)
        made = Checkpoint(self._job.attempt, time.time(), tuple(sorted(contents.items())))
        if (data := dump(made)) is None:
            raise InputError("there are too many links, empty directories or private files in it")
        self._side.store.put(checkpoint_key(family(self._job), self._job.attempt), data)
        if not self._saved and self._job.entry is not None and self._job.entry.begins_as:
            begun = Begun(family(self._job), self._job.attempt, self._job.entry.before)
            self._side.store.put(begun_key(self._job.entry.begins_as), dump(begun) or b"")
        self._saved = contents
        self._prune()
        return True

    def _prune(self) -> None:
        """Remove what only the checkpoint before had."""
        used = {md5 for known in self._known.values() for md5 in known.values()}
        stale = self._held - used - {content.digest for content in self._saved.values()}
        part = self._side.store.area(self._area)
        self._hashes.forget(part.place, stale)
        self._held -= stale
        each(lambda digest: part.delete(object_key(digest)), list(stale), part.threads)

    def _content(self, index: int, path: Path, seen: Seen) -> Content | None:
        """What is whole now; None where the job has changed nothing that is."""
        root, taken = os.path.realpath(path), time.time_ns()
        before = self._known.get(index, {})
        try:
            found = look(root, path).found
        except InputError:  # it is not there now
            return self._saved.get(index)
        changed = {file: stamp for file, stamp in found.stamps.items() if seen.is_changed(stamp.ctime)}
        whole = {file: stamp for file, stamp in changed.items() if seen.is_whole(file, stamp.ctime)}
        new = hash_files(whole, root, taken, self._hashes, NoProgress())
        known = {file: md5 for file, md5 in {**before, **new.by_path}.items() if file in changed}
        if not known:
            return self._saved.get(index)
        if new.by_path:
            self._push(made_of_md5s(root, found, new))
        made = made_of_md5s(root, found, Md5s(known, frozenset()))
        if made.manifest is not None and made.content.digest not in self._held:
            self._side.store.area(self._area).put(object_key(made.content.digest), made.manifest)
        self._known[index] = known
        self._held.add(made.content.digest)
        return made.content

    def _push(self, taken: Snapshot) -> None:
        push(taken.within(self._area), self._side.store, self._hashes, NoProgress())
        self._held.update(entry.md5 for entry in taken.entries)
        self._held.add(taken.content.digest)


def places_of(job: Job, outs: Sequence[Path]) -> dict[int, Path]:
    """Where the keys in both deps and outs are, by index in the job's deps."""
    both = {path for out, path in zip(job.outs, outs, strict=True) if out.is_dep}
    places = {
        index: outs[dep.inside[0]] / dep.inside[1]
        for index, dep in enumerate(job.deps)
        if dep.inside is not None
    }
    return {index: path for index, path in places.items() if path in both}


class Begin(NamedTuple):
    """What an attempt begins with: a checkpoint, ``whose`` area this is ("": what is at home), and the bytes."""

    whose: str = ""
    received: int = 0


def begin_with_newest(job: Job, outs: Sequence[Path], root: Path, side: Side) -> Begin:
    """Lay the newest checkpoint of the attempts before over what this one begins with, if there is one.

    Where there is none, and the job ``resumes``, that of an earlier run. ``root`` is the attempt's scratch directory.
    Raises StoreError, OSError.
    """
    places = places_of(job, outs) if job.attempt > 1 or job.resumes else {}
    made = newest(job, job.attempt - 1, side.store) if places else None
    whose = "the checkpoint of attempt"
    if made is None and places and job.resumes:
        made, whose = of_an_earlier_run(job, side.store), "an earlier run's checkpoint of attempt"
    if made is None or not made.contents:
        return Begin()
    try:
        found, received = _fetched(made, places, root / "checkpoint", side)
    except (MissingObjectError, CorruptObjectError) as exc:
        _say(job, f"cannot begin with {whose} {made.attempt}, but with what is at home: {exc}")
        return Begin()
    for error in move_all([(at, path) for path, at in found.items()]):
        if error is not None:
            raise error
    _say(job, f"begins with {whose} {made.attempt}")
    return Begin(made.contents[0][1].area, received)


def versions_before(job: Job, outs: Sequence[Path], root: Path, side: Side) -> dict[Path, Path]:
    """For each path of a key in both, what the newest checkpoint up to this attempt has of it, below ``root``.

    Raises StoreError, OSError.
    """
    made = newest(job, job.attempt, side.store)
    return {} if made is None else _fetched(made, places_of(job, outs), root, side)[0]


def _fetched(
    made: Checkpoint, places: Mapping[int, Path], root: Path, side: Side
) -> tuple[dict[Path, Path], int]:
    """Where a checkpoint's contents are, by their places, and the bytes that came."""
    contents = {index: content for index, content in made.contents if index in places}
    found = {index: root / str(index) / places[index].name for index in contents}
    for at in found.values():
        at.parent.mkdir(parents=True, exist_ok=True)
    wanted = [Checkout(content, found[index], writable=True) for index, content in contents.items()]
    received = side.cache.checkout(wanted, side.store) if wanted else 0
    return {places[index]: at for index, at in found.items()}, received


def _say(job: Job, what: str) -> None:
    print(f"ray-s3: {job.name} {what}", file=sys.stderr, flush=True)
