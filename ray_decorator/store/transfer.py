"""Content goes to a store and comes home: the two directions, each a short story over its parts.

snapshot(path)      what a path holds, by content              (snapshots.py)
push(snapshot)      files the store lacks -> their manifest    (upload.py)
pull(content)       manifest -> files that are not right yet   (merging.py, download.py)
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from ..content.hash_cache import HashCache
from ..content.hashing import hash_files
from ..content.manifest import object_key
from ..content.merge import Plan, Target, plan
from ..content.snapshot import Entry, Snapshot, snapshot
from ..content.temporary import clear_stale
from ..core.model import Content
from ..core.progress import Progress
from .download import Wanted, download, rows_of
from .store import Store
from .upload import lacking, upload

__all__ = ["Snapshot", "pull", "push", "snapshot"]


def push(taken: Snapshot, store: Store, hashes: HashCache, progress: Progress, *, trust: bool = True) -> int:
    """Bring what was hashed to the store, and return the bytes sent.

    What the store is remembered to hold is not asked for; with ``trust=False`` everything is, which
    heals a store that lost objects. A directory's manifest goes last: where it is, all is. Raises
    InputError where a file is not what it was when hashed, StoreError.
    """
    digest = taken.content.digest
    if trust and hashes.known(store.place, [digest]):
        return 0
    entries, manifest = {entry.md5: entry for entry in taken.entries}, taken.manifest
    if trust and manifest is not None and store.head(object_key(digest)) == len(manifest):
        hashes.remember(store.place, [digest, *entries])
        return 0
    known = hashes.known(store.place, entries.keys()) if trust else set()
    sent = _push_files([entry for md5, entry in entries.items() if md5 not in known], store, progress, trust)
    if manifest is not None:
        store.put(object_key(digest), manifest)
        sent += len(manifest)
    hashes.remember(store.place, [digest, *entries])
    return sent


def _push_files(entries: Sequence[Entry], store: Store, progress: Progress, trust: bool) -> int:
    if not entries:
        return 0
    missing, unsure = lacking(entries, store)
    return upload(missing, unsure, store, progress, ask=not trust)


def pull(
    content: Content, destination: Path, store: Store, hashes: HashCache | None, progress: Progress
) -> int:
    """Bring content home, merged into what stands at ``destination``, and return the bytes received.

    Files that are right already are left alone, no others are touched, nothing is deleted. Raises
    InputError where something else stands in a file's place, MissingObjectError, CorruptObjectError;
    files that came before the error stay.
    """
    rows = rows_of(content, store)
    planned = plan(destination, rows)
    executables = set(content.executables)
    right, wrong = _sorted_out(planned, content, hashes, progress)
    _make_folders(planned, wrong)
    wanted = [Wanted(t.row.md5, t.path, 0o777 if t.row.relpath in executables else 0o666) for t in wrong]
    fetched = download(wanted, store, progress)
    for target in right:
        if target.row.relpath in executables:
            _make_executable(target.path)
    if hashes is not None:
        hashes.record(fetched)
        hashes.remember(store.place, {content.digest, *(row.md5 for row in rows)})
    return sum(file.stamp.size for file in fetched)


def _sorted_out(
    planned: Plan, content: Content, hashes: HashCache | None, progress: Progress
) -> tuple[list[Target], list[Target]]:
    """Part the targets into those whose bytes are right already, and those to fetch."""
    now = time.time_ns()
    standing = {
        target.path: target.stamp
        for target in planned.targets
        if target.stamp and (content.is_tree or target.stamp.size == content.size)
    }
    md5s = hash_files(standing, planned.root, now, hashes, progress).by_path if standing else {}
    right: list[Target] = []
    wrong: list[Target] = []
    for target in planned.targets:
        (right if md5s.get(target.path) == target.row.md5 else wrong).append(target)
    return right, wrong


def _make_folders(planned: Plan, wrong: Sequence[Target]) -> None:
    for folder in planned.folders:
        os.makedirs(folder, exist_ok=True)
    clear_stale({os.path.dirname(target.path) for target in wrong} - set(planned.folders))


def _make_executable(path: str) -> None:
    mode = os.stat(path).st_mode
    wished = mode | ((mode & 0o444) >> 2)
    if mode != wished:
        with contextlib.suppress(PermissionError):  # another user's file
            os.chmod(path, wished)
