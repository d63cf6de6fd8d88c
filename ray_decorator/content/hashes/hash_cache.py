"""What was found out before: the md5 of unchanged files, what each store is known to hold, where outs were written.

An SQLite file that many processes share. It is a cache: whatever is wrong with it costs time, and one
warning, but never a run.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ...core.machine.directories import cache_home, private_directory
from ...core.values.contents import Content, Extras
from .inodes import are_lasting

log = logging.getLogger(__name__)

_FRESH_NS = 100_000_000  # clocks of file systems tick, every 10 ms or oftener
_SETTLED_NS = 60_000_000_000
_BUSY_SECONDS = 5.0
_OUTS_SECONDS = 30 * 24 * 3600.0  # that an out which is not there is remembered: its job may be running
_INODES = 2**63 - 1  # what SQLite takes of a number; some network file systems use the 64th bit
_ENCODING = sys.getfilesystemencoding()
_COUNTED = ("hashes", "trees", "held")
_FOUND_AGAIN = (*_COUNTED, "inodes")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS hashes (
    path BLOB PRIMARY KEY, inode INTEGER, mtime INTEGER, ctime INTEGER, size INTEGER, md5 TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inodes (
    device INTEGER, inode INTEGER, mtime INTEGER, ctime INTEGER, size INTEGER, md5 TEXT, PRIMARY KEY (device, inode)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trees (path BLOB PRIMARY KEY, fingerprint TEXT, content TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS trees_anywhere ON trees (fingerprint);
CREATE TABLE IF NOT EXISTS held (
    store TEXT, digest TEXT, PRIMARY KEY (store, digest)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outs (path BLOB PRIMARY KEY, at REAL) WITHOUT ROWID;
"""


class Stamp(NamedTuple):
    """What of a file's stat changes whenever its bytes do. Times in nanoseconds, size in bytes."""

    device: int
    inode: int
    mtime: int
    ctime: int
    size: int

    @classmethod
    def of(cls, stat: os.stat_result) -> Stamp:
        fields = (
            stat.st_dev & _INODES, stat.st_ino & _INODES, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size,
        )  # fmt: skip
        return tuple.__new__(cls, fields)  # half the time of cls(…)

    def is_fresh(self, taken: int) -> bool:
        """Whether the file had just changed at ``taken`` (ns): its clock may not have ticked since."""
        return taken - self.ctime < _FRESH_NS

    def is_settled(self, taken: int) -> bool:
        """Whether it had not changed for so long at ``taken`` (ns) that any change to come shows.

        A program that writes through a memory map changes the times only when the kernel has written the
        page to the disk since: Linux does so within 35 s.
        """
        return taken - self.ctime > _SETTLED_NS


class Hashed(NamedTuple):
    """A file and its md5. ``racy``: a change to come might not show in the stamp, so it is not kept."""

    path: str
    stamp: Stamp
    md5: str
    racy: bool = False


def default_path() -> Path:
    """``$XDG_CACHE_HOME/ray_s3/hashes.sqlite``, below ``~/.cache`` where that is not set."""
    return cache_home() / "hashes.sqlite"


class HashCache:
    """The cache in the file ``path``, made when missing. Safe for threads and for other processes.

    Raises InputError where others than this user could write to the file's directory.
    """

    def __init__(self, path: Path) -> None:
        self._name = str(path)
        self._lock = threading.Lock()
        self._warned = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            private_directory(path.parent)
            self._db = _connect(str(path))
        except (OSError, sqlite3.Error) as exc:
            self._warn(exc)
            self._db = _connect(":memory:")

    @classmethod
    def in_memory(cls) -> HashCache:
        """A cache that lives as long as the object: for a worker's job, whose files do not outlive it."""
        cache = cls.__new__(cls)
        cache._name, cache._lock, cache._warned = ":memory:", threading.Lock(), False
        cache._db = _connect(":memory:")
        return cache

    def unchanged(self, root: str, stamps: Mapping[str, Stamp]) -> tuple[dict[str, str], list[str]]:
        """Path -> md5 of the files at and below ``root`` that are recorded with just these stamps.

        Under its own path, a file may be on a device of another number: some are numbered anew with every mount.
        With them, the paths that are recorded there and have no stamp now. All paths are absolute.
        """
        at = os.fsencode(root)
        below = b"" if at == b"/" else at
        query = "SELECT * FROM hashes WHERE path = ? OR (path > ? AND path < ?)"
        md5s: dict[str, str] = {}
        others: list[str] = []
        with self._session() as db:
            for row in db.execute(query, (at, below + b"/", below + b"0")):
                path = row[0].decode(_ENCODING, "surrogateescape")  # os.fsdecode, of 100,000 paths
                if (now := stamps.get(path)) is None:
                    others.append(path)
                elif now[1:] == row[1:5]:
                    md5s[path] = row[5]
        return md5s, others

    def anywhere(self, stamps: Mapping[str, Stamp]) -> dict[str, str]:
        """As `unchanged`, of files that are recorded under whatever path: moved ones, links to them."""
        query = "SELECT * FROM inodes WHERE device = ? AND inode IN (SELECT value FROM json_each(?))"
        recorded: dict[tuple[int, ...], str] = {}
        with self._session() as db:
            for device, path in {stamp.device: path for path, stamp in stamps.items()}.items():
                if are_lasting(device, path):
                    inodes = json.dumps([s.inode for s in stamps.values() if s.device == device])
                    recorded.update((row[:5], row[5]) for row in db.execute(query, (device, inodes)))
        return {path: recorded[stamp] for path, stamp in stamps.items() if stamp in recorded}

    def record(self, files: Iterable[Hashed]) -> None:
        """Keep these md5s, but for files so fresh that a later change might not show in their stamp."""
        kept = [file for file in files if not file.racy]
        with self._session() as db:
            by_path = ((os.fsencode(f.path), *f.stamp[1:], f.md5) for f in kept)
            db.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?, ?)", by_path)
            devices = {file.stamp.device: file.path for file in kept}
            lasting = {device for device, path in devices.items() if are_lasting(device, path)}
            by_inode = ((*f.stamp, f.md5) for f in kept if f.stamp.device in lasting)
            db.executemany("INSERT OR REPLACE INTO inodes VALUES (?, ?, ?, ?, ?, ?)", by_inode)

    def drop(self, paths: Iterable[str]) -> None:
        """Forget what was at these paths. A file that was moved from there is still known."""
        rows = [(os.fsencode(path),) for path in paths]
        if rows:
            with self._session() as db:
                db.executemany("DELETE FROM hashes WHERE path = ?", rows)

    def tree(self, root: str, fingerprint: str, devices: Mapping[int, str]) -> Content | None:
        """What the directory ``root`` held when it had just this fingerprint of all its files' stamps.

        ``devices`` are those that its files are on, each with a path there: where inodes are lasting on all of them,
        it may have been recorded as another directory.
        """
        query = "SELECT content FROM trees WHERE fingerprint = ? AND (path = ? OR ?)"
        anywhere = all(are_lasting(device, path) for device, path in devices.items())
        with self._session() as db:
            for (text,) in db.execute(query, (fingerprint, os.fsencode(root), anywhere)):
                digest, size, files, executables, private, folders, links = json.loads(text)
                extras = Extras(tuple(map(tuple, private)), tuple(folders), tuple(map(tuple, links)))
                return Content(digest, size, files, tuple(executables), extras)
        return None

    def record_tree(self, root: str, fingerprint: str, content: Content) -> None:
        """Keep what the directory holds. None of its files may be fresh (see `Stamp.is_fresh`)."""
        extras = (content.extras.private, content.extras.folders, content.extras.links)
        text = json.dumps([content.digest, content.size, content.files, content.executables, *extras])
        with self._session() as db:
            db.execute(
                "INSERT OR REPLACE INTO trees VALUES (?, ?, ?)", (os.fsencode(root), fingerprint, text)
            )

    def known(self, store: str, digests: Collection[str]) -> set[str]:
        """Those of ``digests`` that the store was seen to hold."""
        query = "SELECT digest FROM held WHERE store = ? AND digest IN (SELECT value FROM json_each(?))"
        with self._session() as db:
            rows = db.execute(query, (store, json.dumps(list(digests)))).fetchall()
            return {digest for (digest,) in rows}
        return set()

    def remember(self, store: str, digests: Iterable[str]) -> None:
        """The store was just seen to hold these objects."""
        with self._session() as db:
            rows = [(store, digest) for digest in digests]
            db.executemany("INSERT OR IGNORE INTO held VALUES (?, ?)", rows)

    def forget(self, store: str, digests: Iterable[str]) -> None:
        """The store was found not to hold these objects any more."""
        with self._session() as db:
            rows = [(store, digest) for digest in digests]
            db.executemany("DELETE FROM held WHERE store = ? AND digest = ?", rows)

    def count(self) -> int:
        """How many md5s and digests it holds."""
        with self._session() as db:
            return sum(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _COUNTED)
        return 0

    def clear(self) -> None:
        """Forget all that would be found out again. The file stays: other processes have it open."""
        with self._session() as db:
            for table in _FOUND_AGAIN:
                db.execute(f"DELETE FROM {table}")
        with self._session() as db:
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def outs(self) -> frozenset[str]:
        """Where outs were, or are to be, written and something is now; real paths."""
        there: set[str] = set()
        with self._session() as db:
            for raw, at in db.execute("SELECT path, at FROM outs").fetchall():
                if os.path.lexists(raw):
                    there.add(os.fsdecode(raw))
                elif time.time() - at > _OUTS_SECONDS:
                    db.execute("DELETE FROM outs WHERE path = ?", (raw,))
        return frozenset(there)

    def record_outs(self, paths: Iterable[str]) -> None:
        """Jobs are to write these real paths."""
        rows = [(os.fsencode(path), time.time()) for path in paths]
        with self._session() as db:
            db.executemany("INSERT OR REPLACE INTO outs VALUES (?, ?)", rows)

    @contextmanager
    def _session(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                with self._db:
                    yield self._db
            except (sqlite3.Error, OverflowError, ValueError) as exc:  # a time of the year 2300, spoilt pages
                self._warn(exc)

    def _warn(self, exc: Exception) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "going on without the hash cache %s (%s): files are hashed and checked anew. "
                "Delete that file should this come again.",
                self._name,
                exc,
            )


def _connect(name: str) -> sqlite3.Connection:
    db = sqlite3.connect(name, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
    except sqlite3.Error:
        db.close()
        raise
    return db
