"""What the calls read: hashed, pushed as one batch, and pushed again where the store has lost it.

The store is opened when it is first needed: with the embedded default it seldom is.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from ...content import extras_file
from ...content.hashes.hash_cache import HashCache, default_path
from ...content.looking.snapshot import snapshot_of
from ...content.manifest import object_key
from ...content.placing.move import free_name_beside
from ...core.commands import fetch_command
from ...core.errors import InputError, MissingObjectError
from ...core.options.s3_account import S3Account
from ...core.progress import NoProgress, Progress
from ...core.values.contents import Content
from ...core.values.model import CODE, FAILED, Call, Job, PathSlot
from ...core.values.stores import Credentials, DvcDirectory, Location
from ...dvc.ignore import Ignores
from ...dvc.remote import has_old_layout
from ...dvc.repository import root_of
from ...dvc.tracked.hashed import HashedFiles
from ...dvc.tracked.outputs import Outputs
from ...store.identity import Identity, identify
from ...store.last_checkpoint import newest
from ...store.pushing import first
from ...store.store import OURS, Store, open_store
from ...store.transfer import Pulled, Snapshot, pull, pull_all, push_all, snapshot
from .absent_deps import AbsentDeps
from .dvc_outs import DvcOuts

log = logging.getLogger(__name__)


class Staging:
    """The driver's side of a store, for all calls of a session. Safe to use from several threads."""

    def __init__(
        self,
        store_url: str,
        credentials: str,
        account: S3Account | DvcDirectory | None = None,
        *,
        is_remote: bool = False,
    ) -> None:
        """``is_remote``: the store is a DVC remote; ``account`` is what that says of S3, or of its directory."""
        self._store_url, self._credentials, self._account = store_url, credentials, account
        self._is_remote = is_remote
        self._identity: Identity | None = None
        self._store: Store | None = None
        self._hash_cache: HashCache | None = None
        self._code: Snapshot | None = None
        self._told: set[str] = set()
        self._reuploads: Counter[str] = Counter()
        self._keys: dict[str, str] = {}  # real path -> the key of a dep that is there
        self._dvc_outs = DvcOuts()
        self._lock = threading.RLock()

    def open(self) -> Store:
        """The store, opened and seen to be there by one request, once. Raises InputError and StoreError."""
        with self._lock:
            if self._store is None:
                identity = self._identified()
                opened = open_store(identity.here, identity.fresh)
                opened.check()
                if self._is_remote and has_old_layout(opened.folders()):
                    log.warning(
                        "%s holds objects as DVC 2 laid them out. Jobs, as DVC 3, look for them below files/md5: "
                        "data that is nowhere else there is uploaded again, once",
                        opened.url,
                    )
                self._store = opened
            return self._store

    @property
    def location(self) -> Location:
        """The store as it travels with a job that starts now."""
        return self._identified().location

    def fresh(self) -> Credentials | None:
        """The driver's newest credentials; raises StoreDeniedError where they cannot be had any more."""
        return self._identified().fresh()

    def _identified(self) -> Identity:
        with self._lock:
            if self._identity is None:
                self._identity = identify(
                    self._store_url, credentials=self._credentials, account=self._account
                )
            return self._identity

    @property
    def hashes(self) -> HashCache:
        """The cache of hashes. Raises InputError where others could write to it."""
        return self._hashes

    @property
    def _hashes(self) -> HashCache:
        with self._lock:
            if self._hash_cache is None:
                self._hash_cache = HashCache(default_path())
            return self._hash_cache

    def earlier_outs(self) -> frozenset[str]:
        """Where this and earlier runs' jobs have written, on this machine."""
        return self._hashes.outs()

    def record_outs(self, calls: Iterable[Call]) -> None:
        """Jobs are to write what these calls write: what they leave is no code of a later run."""
        paths: list[str] = []
        for call in calls:
            paths += [target.real for target in call.targets]
            if call.workspace is not None:  # which may be the project's own folder
                paths.append(os.path.join(call.workspace.real, FAILED))
        try:
            hashes = self._hashes
        except InputError as exc:  # data that stays where it is needs no cache
            log.debug("outs are not remembered: %s", exc)
        else:
            hashes.record_outs(paths)

    def hash(self, deps: Iterable[PathSlot], progress: Progress) -> dict[str, Snapshot | InputError]:
        """What is at each distinct path, by its real one, or what is wrong with it.

        What a ``.dvcignore`` names is not part of it. Of a path that is not there, it is what DVC tracks.
        """
        found: dict[str, Snapshot | InputError] = {}
        self._dvc_outs = DvcOuts()  # a new batch: DVC's files may be others than before
        # of several names of one directory, one in a DVC repository says what counts in it
        in_order = sorted(deps, key=lambda dep: root_of(dep.value) is None)
        if not in_order:  # no data travels, so a cache that cannot be used is no problem
            return found
        ignores, outputs = Ignores(), Outputs()
        absent = AbsentDeps(self.open, self._hashes, self._told, outputs)
        for dep in in_order:
            self._keys[dep.real] = dep.key
            if dep.real not in found:
                try:
                    found[dep.real] = self._taken(dep, ignores, outputs, absent, progress)
                except InputError as exc:
                    found[dep.real] = exc
        return found

    def _taken(
        self, dep: PathSlot, ignores: Ignores, outputs: Outputs, absent: AbsentDeps, progress: Progress
    ) -> Snapshot:
        # by its name as DVC takes it; a name outside of all repositories may lead into one
        selection = ignores.selection(dep.value) or ignores.selection(dep.real)
        if not os.path.exists(dep.value) and (tracked := absent.take(dep)) is not None:
            return tracked
        known = HashedFiles.at(dep.value, outputs)
        taken = snapshot(dep.value, self._hashes, progress, selection=selection, known=known)
        if taken.content.is_tree and selection is not None:
            absent.warn_of_gaps(dep, taken)
        return taken

    def held(self, path: Path, *, lenient: bool = False) -> Content:
        """What a path holds that stays where it is; ``lenient`` as in `snapshot`. Raises InputError."""
        return snapshot(path, self._hashes, NoProgress(), lenient=lenient, quiet=True).content

    def push(self, snapshots: Sequence[Snapshot], progress: Progress) -> list[int]:
        """Bring them to the store as one batch; the bytes that each of them took now."""
        return push_all(snapshots, self.open(), self._hashes, progress)

    def hashed_files(self, files: Sequence[tuple[str, str]], progress: Progress) -> Snapshot:
        """These files as one tree, which goes nowhere: pairs of a path in the tree and an absolute one."""
        return snapshot_of(files, self._hashes, progress)

    def push_code(self, files: Sequence[tuple[str, str]], progress: Progress) -> tuple[Snapshot, int]:
        """These files as one tree, once the store holds it, and how many bytes that took.

        ``files`` are pairs of a path in the tree and an absolute one.
        """
        taken = self.hashed_files(files, progress).within(CODE)
        sent = self.push([taken], progress)[0]
        with self._lock:
            self._code = taken
        return taken, sent

    def pull_all(self, wanted: Sequence[tuple[Content, Path]], progress: Progress) -> list[Pulled]:
        """Bring outs home, each to its destination, ready for DVC where it tracks them; what came of each."""
        store, pulled = self.open(), pull_all(wanted, self.open(), self._hashes, progress)
        for (content, home), one in zip(wanted, pulled, strict=True):
            if one.error is None:
                self._dvc_outs.make_ready(content, one.rows, home, store, self._hashes)
        return pulled

    def pull_aside(self, content: Content, destination: Path, progress: Progress) -> Path:
        """Bring an out home beside its place, where something is in the way of it there; says where."""
        free = free_name_beside(destination)
        pull(content, free, self.open(), self._hashes, progress)
        return free

    def fetch_command(self, content: Content, destination: Path) -> str:
        """The command line that brings an out home later."""
        extras = extras_file.dump(content)
        name = content.digest if extras is None else f"{content.digest}+{extras[0]}"
        return fetch_command(f"{self.open().of(content).url}/{name}", destination)

    def checkpoint(self, job: Job) -> Mapping[int, Content]:
        """What the newest checkpoint of the job's attempts has, by index in its outs. Raises StoreError."""
        places = {
            out.inside or (index, "."): index
            for index, out in enumerate(job.outs)
            if out.is_dep and out.home is None
        }
        made = newest(job, job.attempt, self.open()) if places else None
        if made is None:
            return {}
        found = ((job.deps[i].inside, content) for i, content in made.contents if i < len(job.deps))
        return {places[inside]: content for inside, content in found if inside in places}

    def reuploads(self, snapshots: Collection[Snapshot]) -> Mapping[str, int]:
        """How often each content, and the code, was uploaded again: what a job that starts now relies on."""
        with self._lock:
            digests = [one.content.digest for one in self._with_code(snapshots)]
            return {digest: self._reuploads[digest] for digest in digests}

    def reupload(
        self,
        snapshots: Collection[Snapshot],
        since: Mapping[str, int],
        missing: Sequence[str],
        progress: Progress,
    ) -> None:
        """The store lost or spoilt objects that a job started with: push again, unless that was done meanwhile.

        Raises MissingObjectError where home does not have these bytes any more, StoreError.
        """
        with self._lock:
            stale = [
                one
                for one in self._with_code(snapshots)
                if self._reuploads[one.content.digest] == since.get(one.content.digest)
            ]
            if not stale:
                return
            store, names = self.open(), self._names(stale, missing)
            level = logging.INFO if self._reuploads else logging.WARNING
            for area in {one.content.area: one.content for one in stale}.values():
                self._hashes.forget(store.of(area).place, missing)
            for one in stale:
                self._reuploads[one.content.digest] += 1
            try:
                push_all(stale, store, self._hashes, progress, trust=False, spoilt=set(missing))
            except InputError as exc:
                advice = f"these bytes are not at home any more ({exc}): run again, with what is there now"
                raise MissingObjectError(tuple(missing), store.url, names, advice) from exc
            log.log(
                level,
                "%s no longer holds %d object(s) as they were staged there (deleted, or other bytes): %s. They "
                "were uploaded again",
                store.url,
                len(missing),
                first(names),
            )

    def _names(self, snapshots: Sequence[Snapshot], missing: Sequence[str]) -> tuple[str, ...]:
        """What the objects are at home: a path, the key of the dep that it is of, and the object's own key."""
        paths: dict[str, str] = {}
        for one in snapshots:
            key = self._keys.get(one.path)
            of = f"deps key {key!r}, " if key else f"code, {OURS}/{one.content.area}/"
            paths.setdefault(one.content.digest, f"{one.path} ({of}")
            for entry in one.entries:
                paths.setdefault(entry.md5, f"{entry.path} ({of}")
        return tuple(f"{paths.get(md5, '(')}{object_key(md5)})" for md5 in missing)

    def _with_code(self, snapshots: Collection[Snapshot]) -> list[Snapshot]:
        return [*snapshots, *([self._code] if self._code is not None else [])]
