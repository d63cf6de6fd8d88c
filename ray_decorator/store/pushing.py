"""Snapshots go to a store: the files that it lacks first, then what a manifest cannot say, each manifest last.

push_all     all of them, or an error: what jobs are to read
push_each    whatever can go goes, and what came of each is told: what a job has written

Nothing is tried twice one after the other: where the store did not answer for as long as its patience lasts, what is
left does not go.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from ..content import extras_file
from ..content.hashes.hash_cache import HashCache
from ..content.looking.snapshot import Entry, Snapshot
from ..content.manifest import object_key
from ..content.threads import each
from ..core.errors import InputError, StoreError
from ..core.progress import Progress
from ..core.values.contents import Content
from .store import Seen, Store
from .transport.patience import is_passing
from .upload import Uploads, are_many, lacking

log = logging.getLogger(__name__)

REPLACED = "%s held other bytes in the place of %d object(s): %s. They were replaced"
"""A warning: of which store, how many, and the `first` of them."""

_MOST_NAMES = 3


def first(names: Sequence[str]) -> str:
    """The first of these names, for a message."""
    return ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")


class Pushed(NamedTuple):
    """What came of one snapshot: the bytes that it took, what they share counted once; or why it is not in the store.

    ``spoilt``: those of its objects that had other bytes in the store, and were replaced; as (path, key).
    """

    sent: int = 0
    error: Exception | None = None
    spoilt: tuple[tuple[str, str], ...] = ()


def push(taken: Snapshot, store: Store, hashes: HashCache, progress: Progress, *, trust: bool = True) -> int:
    """`push_all` of a single snapshot."""
    return push_all([taken], store, hashes, progress, trust=trust)[0]


def push_all(
    taken: Sequence[Snapshot],
    store: Store,
    hashes: HashCache,
    progress: Progress,
    *,
    trust: bool = True,
    spoilt: Collection[str] = (),
) -> list[int]:
    """Bring what was hashed to the store; the bytes that each of them took, what they share counted once.

    What the store is remembered to hold is not asked for. With ``trust=False`` nothing is taken for held that was
    not seen there now, with the right bytes (`holding`): this replaces what a store has lost or spoilt. ``spoilt``
    are md5s that are uploaded whatever the store says of them. A directory's manifest goes after all its files: where
    it is, all is. Raises InputError where files are not what they were when hashed, StoreError.
    """
    pushed = _push(taken, store, hashes, progress, trust=trust, spoilt=spoilt, isolate=False)
    if trust and (replaced := [f"{path} ({key})" for one in pushed for path, key in one.spoilt]):
        log.warning(REPLACED, store.url, len(replaced), first(replaced))
    return [one.sent for one in pushed]


def push_each(taken: Sequence[Snapshot], store: Store, hashes: HashCache, progress: Progress) -> list[Pushed]:
    """As `push_all` without trust, with what manifests cannot say; one that cannot go keeps none of the others.

    The smallest files go first: where a line holds back large uploads, they are there by then.
    """
    return _push(taken, store, hashes, progress, trust=False, spoilt=(), isolate=True)


def push_extras(contents: Iterable[Content], store: Store) -> None:
    """Keep beside contents what their manifests cannot say, so that each can be fetched whole later.

    Raises StoreError.
    """
    files = dict(file for content in contents if (file := extras_file.dump(content)) is not None)
    each(lambda digest: store.put(extras_file.key_of(digest), files[digest]), list(files), store.threads)


def _push(
    taken: Sequence[Snapshot], store: Store, hashes: HashCache, progress: Progress,
    *, trust: bool, spoilt: Collection[str], isolate: bool,
) -> list[Pushed]:  # fmt: skip
    came: dict[tuple[str, str], Pushed] = {}
    for area in dict.fromkeys(one.content.area for one in taken):
        part = [one for one in taken if one.content.area == area]
        batch = _Batch(store, store.of(part[0].content), hashes, progress, trust=trust, isolate=isolate)
        came.update(((area, digest), one) for digest, one in batch.run(part, spoilt).items())
    pushed: list[Pushed] = []
    for name in ((one.content.area, one.content.digest) for one in taken):
        pushed.append(came.get(name, Pushed()))
        came[name] = Pushed(error=pushed[-1].error)  # of two that are the same, the first one took the bytes
    return pushed


class _Going:
    """A snapshot on its way. ``left``: md5s of files that the store may lack; ``error``: why it does not come."""

    def __init__(self, one: Snapshot) -> None:
        self.content, self.path = one.content, one.path
        self.left: set[str] = set()
        self.sent, self.is_there = 0, False
        self.error: Exception | None = None
        self.spoilt: list[tuple[str, str]] = []
        self.entries: tuple[Entry, ...] = ()
        self.manifest: bytes | None = None
        try:
            self.entries, self.manifest = one.entries, one.manifest
        except InputError as exc:
            self.error = exc


class _Batch:
    """Snapshots of one area of the store ``whole``. Errors are raised; with ``isolate`` each is of one of them."""

    def __init__(
        self, whole: Store, store: Store, hashes: HashCache, progress: Progress, *, trust: bool, isolate: bool
    ) -> None:
        self._whole, self._store, self._hashes, self._progress = whole, store, hashes, progress
        self._trust, self._isolate = trust, isolate
        # of what is ours alone, nobody needs to hear that it was spoilt
        self._is_data = store is whole
        self._uploads = Uploads(store, progress, sure=not trust)
        self._owners: dict[str, list[_Going]] = {}
        self._problems: list[str] = []
        self._silent: Exception | None = None
        self._lock = threading.Lock()

    def run(self, taken: Sequence[Snapshot], spoilt: Collection[str]) -> dict[str, Pushed]:
        """What came of each, by digest; those that are not there were held already."""
        unknown = {one.content.digest: one for one in taken}
        if self._trust:
            unknown = _not_there(taken, self._store, self._hashes)
        going = [_Going(one) for one in unknown.values()]
        try:
            self._bring(going, spoilt)
        except StoreError as exc:
            if not self._isolate:
                raise
            self._fail([one for one in going if not one.is_there], exc)
        if self._problems:
            raise InputError(tuple(sorted(self._problems)))
        there = [one for one in going if one.is_there]
        if there:
            md5s = {entry.md5 for one in there for entry in one.entries}
            self._hashes.remember(self._store.place, {*md5s, *(one.content.digest for one in there)})
        return {one.content.digest: Pushed(one.sent, one.error, tuple(one.spoilt)) for one in going}

    def _bring(self, going: Sequence[_Going], spoilt: Collection[str]) -> None:
        for one in going:
            if one.error is not None:
                self._fail([one], one.error)
        entries = {entry.md5: entry for one in going if one.error is None for entry in one.entries}
        known = self._hashes.known(self._store.place, entries.keys()) if self._trust else set()
        for one in going:
            one.left = {entry.md5 for entry in one.entries if entry.md5 not in known}
            for md5 in one.left:
                self._owners.setdefault(md5, []).append(one)
        wanted = [entry for md5, entry in entries.items() if md5 not in known]
        missing = [entry for entry in wanted if entry.md5 in spoilt]
        found = lacking([e for e in wanted if e.md5 not in spoilt], self._store, sure=not self._trust)
        for one in going:
            one.left -= found.held
        lost = {entry.md5 for entry in (*missing, *found.lost)}
        work = sorted((*missing, *found.lost, *found.unsure), key=lambda entry: entry.size)
        if not self._isolate:
            work.reverse()
        if work:
            self._progress.expect("uploading", len(work), sum(entry.size for entry in work))
        each(self._finish, [one for one in going if not one.left], self._store.threads)
        ask = self._is_data and (self._isolate or not are_many(wanted))
        each(
            lambda entry: self._one(entry, entry.md5 in lost, found.others.get(entry.md5), ask),
            work,
            self._store.threads,
        )

    def _one(self, entry: Entry, lost: bool, seen: Seen | None, ask: bool) -> None:
        owners = self._owners[entry.md5]
        if self._silent is not None:
            self._fail(owners, self._silent)
        if self._isolate and all(one.error is not None for one in owners):
            return
        try:
            sent, was_spoilt = self._uploads.bring(entry, lost=lost, seen=seen, ask=ask)
        except (StoreError, InputError) as exc:
            self._fail(owners, exc)
            return
        with self._lock:
            owners[0].sent += entry.size if sent else 0
            if was_spoilt:
                owners[0].spoilt.append((entry.path, object_key(entry.md5)))
            for one in owners:
                one.left.discard(entry.md5)
            complete = [one for one in owners if not one.left and one.error is None]
        for one in complete:
            self._finish(one)

    def _finish(self, one: _Going) -> None:
        """All files are there: what the manifest cannot say, then the manifest."""
        if one.error is not None:
            return
        try:
            if self._isolate:
                push_extras([one.content], self._whole)
            if one.manifest is not None:
                digest = one.content.digest
                sent, was_spoilt = self._uploads.bring_manifest(
                    digest, one.manifest, ask=self._isolate and self._is_data
                )
                one.sent += len(one.manifest) if sent else 0
                if was_spoilt:
                    one.spoilt.append((one.path, object_key(digest)))
            one.is_there = True
        except StoreError as exc:
            self._fail([one], exc)

    def _fail(self, going: Collection[_Going], error: Exception) -> None:
        if isinstance(error, StoreError):
            if not self._isolate:
                raise error
            if is_passing(error):
                self._silent = error
        elif not self._isolate and isinstance(error, InputError):
            self._problems.extend(error.problems)
        for one in going:
            one.error = one.error or error


def _not_there(taken: Sequence[Snapshot], store: Store, hashes: HashCache) -> dict[str, Snapshot]:
    """By digest, those that the store is neither remembered nor, for a directory, seen to hold."""
    known = hashes.known(store.place, [one.content.digest for one in taken])
    unknown = {one.content.digest: one for one in taken if one.content.digest not in known}
    seen: list[Snapshot] = []

    def look(one: Snapshot) -> None:
        size = store.head(object_key(one.content.digest))
        if size is not None and size == len(one.manifest or b""):
            seen.append(one)

    each(look, [one for one in unknown.values() if one.content.is_tree], store.threads)
    for one in seen:
        del unknown[one.content.digest]
        hashes.remember(store.place, [one.content.digest, *(entry.md5 for entry in one.entries)])
    return unknown
