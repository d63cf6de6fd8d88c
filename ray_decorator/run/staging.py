"""What the calls read: hashed once, pushed once, and pushed again where the store has lost it."""

from __future__ import annotations

import itertools
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..content.hash_cache import HashCache, default_path
from ..content.snapshot import snapshot_of
from ..core.errors import InputError
from ..core.model import Call, Content, Credentials, Location
from ..core.problems import Problems
from ..core.progress import Progress
from ..store.identity import identify
from ..store.store import open_store
from ..store.transfer import Snapshot, pull, push, snapshot

log = logging.getLogger(__name__)

_CODE = ""  # a key that no path has


class Staging:
    """The driver's side of a store, for one run. Safe to use from several threads."""

    def __init__(self, store_url: str, progress: Progress, credentials: str = "driver") -> None:
        self._identity = identify(store_url, credentials=credentials)
        self.store = open_store(self._identity.here, self._identity.fresh)
        self._hashes = HashCache(default_path())
        self._progress = progress
        self._snapshots: dict[str, Snapshot] = {}
        self._pushed: set[str] = set()
        self._healed: Counter[str] = Counter()
        self._lock = threading.RLock()

    @property
    def location(self) -> Location:
        """The store as it travels with a job that starts now."""
        return self._identity.location

    @property
    def expires(self) -> float | None:
        """When the credentials that travel end, in seconds since 1970; None for never, or where none do."""
        credentials = self.location.credentials
        return credentials.expires if credentials else None

    def fresh(self) -> Credentials | None:
        """The driver's newest credentials; raises StoreDeniedError where they cannot be had any more."""
        return self._identity.fresh()

    def hash_all(self, calls: Iterable[Call]) -> None:
        """Hash every dep of every call; raises InputError with all that is wrong with any of them."""
        problems = Problems()
        bad: dict[Path, tuple[str, ...]] = {}
        for call in calls:
            for dep in call.deps:
                found = bad.get(dep.value) or self._problems(dep.value, bad)
                problems.add(call.name, (f"deps key {dep.key!r}: {problem}" for problem in found))
        problems.raise_if_any()

    def _problems(self, path: Path, bad: dict[Path, tuple[str, ...]]) -> tuple[str, ...]:
        try:
            self._snapshot(path)
        except InputError as exc:
            bad[path] = exc.problems
            return exc.problems
        return ()

    def push(self, path: Path) -> tuple[Content, int]:
        """The content of ``path``, once the store holds it, and how many bytes that took now."""
        with self._lock:
            taken = self._snapshot(path)
            if taken.content.digest in self._pushed:
                return taken.content, 0
            sent = push(taken, self.store, self._hashes, self._progress)
            self._pushed.add(taken.content.digest)
            return taken.content, sent

    def push_code(self, files: Sequence[tuple[str, str]]) -> tuple[Content, int]:
        """The content of these files as one tree, once the store holds it, and how many bytes that took.

        ``files`` are pairs of a path in the tree and an absolute one.
        """
        with self._lock:
            taken = self._snapshots[_CODE] = snapshot_of(files, self._hashes, self._progress)
            return taken.content, push(taken, self.store, self._hashes, self._progress)

    def pull(self, content: Content, destination: Path) -> int:
        """Bring an out home; returns the bytes that came."""
        return pull(content, destination, self.store, self._hashes, self._progress)

    def pull_aside(self, content: Content, destination: Path) -> Path:
        """Bring an out home beside its place, where something is in the way of it there; says where."""
        names = (f"{destination.name}.ray_s3{f'-{n}' if n else ''}" for n in itertools.count())
        free = next(path for name in names if not os.path.lexists(path := destination.with_name(name)))
        self.pull(content, free)
        return free

    def healings(self, paths: Iterable[Path]) -> Mapping[str, int]:
        """How often each path, and the code, has been pushed anew: what a job that starts now relies on."""
        with self._lock:
            keys = [*(_key(path) for path in paths), *([_CODE] if _CODE in self._snapshots else [])]
            return {key: self._healed[key] for key in keys}

    def heal(self, since: Mapping[str, int], missing: Sequence[str]) -> None:
        """The store lost objects that a job started with: push again, unless that was done meanwhile."""
        with self._lock:
            stale = [key for key, times in since.items() if self._healed[key] == times]
            if stale and not self._healed:
                log.warning(
                    "%s no longer holds %d object(s) that were staged there before (garbage collected?); "
                    "uploading them again",
                    self.store.url,
                    len(missing),
                )
            self._hashes.forget(self.store.place, missing)
            for key in stale:
                self._healed[key] += 1
                push(self._snapshots[key], self.store, self._hashes, self._progress, trust=False)

    def _snapshot(self, path: Path) -> Snapshot:
        with self._lock:
            key = _key(path)
            if key not in self._snapshots:
                self._snapshots[key] = snapshot(path, self._hashes, self._progress)
            return self._snapshots[key]


def _key(path: Path) -> str:
    return os.path.realpath(path)
