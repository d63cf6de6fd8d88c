"""Files to a store, verified: bytes that do not hash to their object's name never become that object.

which of them does it lack?  one LIST says how large the store is (md5s are spread evenly):
    few pages against the unknown files   ->  list it all
    otherwise, small file of many, read   ->  upload it, asking nothing (a job's out: as any other)
      just now
    otherwise                             ->  HEAD, upload what is missing
up to 16 MiB                              ->  one PUT
larger                                    ->  parts, several at once, hashed on their way, or, where it was
                                              hashed just now, seen to have the same stamp before and after

What is uploaded without asking replaces a spoilt object, too, but no warning says so: of many files, a HEAD of each
costs as much as the bytes, and not all servers heed ``If-None-Match``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ..content.hashes.hash_cache import Stamp
from ..content.hashes.hashing import changed
from ..content.looking.snapshot import Entry
from ..content.manifest import PREFIX, digest_of_key, md5, object_key
from ..content.threads import Budget
from ..core.errors import InputError, StoreError
from ..core.progress import Progress
from .holding import holds, was_spoilt
from .store import Seen, Store
from .transport.patience import is_passing

log = logging.getLogger(__name__)

_WHOLE = 16 * 1024 * 1024
_PART = 8 * 1024 * 1024
_MEMORY = 16 * _PART
_BLIND = 128 * 1024  # bytes that cost about as much to send as to ask for
_LIST_FROM = 16  # unknown files; fewer are not worth a LIST
_FILES_A_PAGE = 50  # a LIST page answers for 1,000 keys, but pages come one after another


class Lacking(NamedTuple):
    """Entries that a store was seen to lack (``lost``), those that it may or may not hold, and md5s that it ``held``.

    ``others``: by md5, objects in the place of the lost ones that have other bytes, or may have.
    """

    lost: list[Entry]
    unsure: list[Entry]
    held: frozenset[str] = frozenset()
    others: Mapping[str, Seen] = {}


def are_many(entries: Sequence[Entry]) -> bool:
    """Whether asking a store for each of them would take long."""
    return len(entries) >= _LIST_FROM


def lacking(entries: Sequence[Entry], store: Store, *, sure: bool = False) -> Lacking:
    """Part the entries by what the store was seen to hold: in the right size; if ``sure``, with the right bytes."""
    if store.local or not are_many(entries):
        return Lacking([], list(entries))
    listed: dict[str, Seen] = {}
    complete = _list(store, listed, 1 + len(entries) / _FILES_A_PAGE)
    held = {entry.md5 for entry in entries if _is_held(store, listed.get(entry.md5), entry, sure)}
    rest = [entry for entry in entries if entry.md5 not in held]
    others = {entry.md5: listed[entry.md5] for entry in rest if entry.md5 in listed}
    if complete:
        return Lacking(rest, [], frozenset(held), others)
    lost = [entry for entry in rest if entry.md5 in others]
    return Lacking(lost, [e for e in rest if e.md5 not in others], frozenset(held), others)


def _is_held(store: Store, seen: Seen | None, entry: Entry, sure: bool) -> bool:
    if sure:
        return holds(store, seen, entry, _PART)
    return seen is not None and seen.size == entry.size


def _list(store: Store, listed: dict[str, Seen], pages: float) -> bool:
    """Take in all that the store holds, by digest; False where that would be more than ``pages``."""
    try:
        for number, page in enumerate(store.look_at_all(PREFIX), 1):
            listed.update((digest_of_key(seen.key), seen) for seen in page)
            if number + _pages_left(page[-1].key) > pages:
                return False
    except StoreError as exc:  # not allowed, or not as S3 does it
        if is_passing(exc):
            raise
        log.debug("%s cannot be listed (%s): asking for each object", store.url, exc)
        return False
    return True


def _pages_left(last_key: str) -> float:
    """How many more pages there are, judged by how far into the range of all md5s one page has led."""
    try:
        covered = (int(digest_of_key(last_key)[:8], 16) + 1) / 16**8
    except ValueError:  # not an object of ours
        return 0.0
    return 1 / covered - 1


class Brought(NamedTuple):
    """Whether an object was ``sent``, and whether it replaced one that certainly had other bytes (``was_spoilt``)."""

    sent: bool
    was_spoilt: bool = False


class Uploads:
    """Brings objects to the store. Safe to use from several threads.

    ``sure``: an object of the right size will not do where its bytes may be others.
    """

    def __init__(self, store: Store, progress: Progress, *, sure: bool = False) -> None:
        self._store, self._progress, self._sure = store, progress, sure
        self._budget = Budget(_MEMORY)

    def bring(
        self, entry: Entry, *, lost: bool = False, seen: Seen | None = None, ask: bool = False
    ) -> Brought:
        """Send a file, unless it is there. ``lost``: it is not; ``seen`` is what has its place.

        ``ask`` what is there first, though the file is small, so that a spoilt object is noticed.

        Raises InputError where the file is not what it was when hashed, StoreError.
        """
        worth_asking = ask or entry.is_unread or entry.size > _BLIND or self._store.local
        if not lost and worth_asking:
            seen = self._store.look(object_key(entry.md5))
            if _is_held(self._store, seen, entry, self._sure):
                self._progress.advance("uploading", 1, entry.size)
                return Brought(False)
        _send(entry, self._store, self._budget, self._progress)
        return Brought(True, seen is not None and was_spoilt(self._store, seen, entry, _PART))

    def bring_manifest(self, digest: str, data: bytes, *, ask: bool) -> Brought:
        """The same for a directory's manifest. Raises StoreError."""
        key, entry = object_key(digest), Entry("", "", len(data), digest.removesuffix(".dir"), None)
        seen = self._store.look(key) if ask else None
        if holds(self._store, seen, entry, _PART):
            return Brought(False)
        self._store.put(key, data)
        return Brought(True, seen is not None and was_spoilt(self._store, seen, entry, _PART))


def _send(entry: Entry, store: Store, budget: Budget, progress: Progress) -> None:
    key = object_key(entry.md5)
    if entry.size > _WHOLE:
        with budget.hold(store.parts * _PART):
            sent = _Sent(progress)
            store.put_parts(key, lambda: _chunks(entry, sent.again()), entry.size, _PART, store.parts)
        progress.advance("uploading", 1)
        return
    with budget.hold(entry.size):
        store.put(key, _whole(entry))
    progress.advance("uploading", 1, entry.size)


def _whole(entry: Entry) -> bytes:
    try:
        with open(entry.path, "rb", buffering=0) as file:
            data = file.read(entry.size + 1)
    except OSError as exc:
        raise InputError(f"{entry.path}: cannot be read any more ({exc.strerror})") from exc
    if md5(data).hexdigest() != entry.md5:
        raise InputError(changed(entry.path))
    return data


class _Sent:
    """How far one upload is. Where it begins again, so does its progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._size = progress, 0

    def again(self) -> _Sent:
        self._progress.advance("uploading", 0, -self._size)
        self._size = 0
        return self

    def advance(self, size: int) -> None:
        self._size += size
        self._progress.advance("uploading", 0, size)


def _chunks(entry: Entry, sent: _Sent) -> Iterator[bytes]:
    """The file's bytes. If they are others than the entry's, InputError at the end aborts the upload."""
    state = md5()
    try:
        with open(entry.path, "rb", buffering=0) as file:
            trusted = entry.stamp is not None and Stamp.of(os.fstat(file.fileno())) == entry.stamp
            for _ in range(0, entry.size, _PART):
                data = os.read(file.fileno(), _PART)
                if not trusted:
                    state.update(data)
                yield data
                sent.advance(len(data))
            over = os.read(file.fileno(), 1)
            same = trusted and Stamp.of(os.fstat(file.fileno())) == entry.stamp
    except OSError as exc:
        raise InputError(f"{entry.path}: cannot be read any more ({exc.strerror})") from exc
    if over or not (same if trusted else state.hexdigest() == entry.md5):
        raise InputError(changed(entry.path))
