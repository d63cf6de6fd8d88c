"""What DVC has hashed, and is sure of, needs no reading: files that are objects of its cache.

a link into the cache                             the object's name is the md5
a hard link: the same inode as the object that
the md5 which DVC wrote down for it names         it has that md5

The object must be read-only: so DVC leaves what it has verified, and so it trusts it itself (dvc-data:
``LocalHashFileDB.check``). Who makes an object writable, changes it and makes it read-only again deceives both.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import time
from collections.abc import Collection, Iterator, Mapping

from ...content.hashes.hash_cache import Stamp
from ...content.hashes.hashing import Known
from ...content.looking.look import Found
from ...content.manifest import PREFIX
from ...core.errors import CorruptObjectError
from ..repository import root_of
from .cache import Cache
from .outputs import Outputs

_OBJECT = re.compile(rf"{PREFIX}/([0-9a-f]{{2}})/([0-9a-f]{{30}})")
_WRITABLE = 0o222


class HashedFiles:
    """What DVC is sure of at and below a path of a repository; to be made before that is looked at."""

    def __init__(self, path: str, root: str, outputs: Outputs) -> None:
        self._named, self._real, self._root, self._outputs = path, os.path.realpath(path), root, outputs
        self._started = time.time_ns()

    @classmethod
    def at(cls, path: str | os.PathLike[str], outputs: Outputs) -> HashedFiles | None:
        """None where the path is in no repository."""
        named = os.path.abspath(path)
        root = root_of(named)
        return None if root is None else cls(named, root, outputs)

    def __call__(self, found: Found) -> Known:
        """Of those that were found: path -> md5 of those that need no reading.

        It raises InputError for a file of DVC's that cannot be read.
        """
        return functools.partial(self._known, found.read_only)

    def _known(self, read_only: Collection[str], files: Mapping[str, Stamp]) -> dict[str, str]:
        # most data sets are linked in one way: of hard links, the objects tell all, and the paths need no look
        md5s = self._by_record(files, read_only) if _is_hard_link(next(iter(files), "")) else {}
        linked: dict[str, Stamp] = {}
        for path, stamp in files.items() if len(md5s) < len(files) else ():
            try:
                is_link, status = _seen(path)
            except OSError:
                continue
            if path in md5s or status.st_mode & _WRITABLE or Stamp.of(status) != stamp:
                continue
            # of a path that is a link itself, the file is where that leads
            if (is_link or path == self._real) and (md5 := self._by_name(path, is_link)) is not None:
                md5s[path] = md5
            elif status.st_nlink > 1:
                linked[path] = stamp
        return {**md5s, **self._by_record(linked, read_only)} if linked else md5s

    def _by_record(self, files: Mapping[str, Stamp], read_only: Collection[str]) -> dict[str, str]:
        known: dict[str, str] = {}
        device, inodes = self._cache.inodes(len(files), self._started)
        for path, md5 in self._recorded(files):
            stamp = files.get(path)
            if stamp is None or path not in read_only:
                continue
            is_same = stamp.device == device and inodes.get(md5) == stamp.inode
            if is_same or self._is_object(stamp, md5):
                known[path] = md5
        return known

    def _by_name(self, path: str, is_link: bool) -> str | None:
        leads_to = os.readlink(path) if is_link else path
        return self._md5_of_name(leads_to) or self._md5_of_name(os.path.realpath(path))

    def _md5_of_name(self, path: str) -> str | None:
        for place in self._places:
            if path.startswith(place) and (match := _OBJECT.fullmatch(path, len(place))):
                return match[1] + match[2]
        return None

    def _recorded(self, files: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """Real paths, and the md5s that DVC has written down for them: of all there is at the path."""
        for output in self._outputs.at_or_below(self._named, map(self._as_named, files)):
            if not output.names_content:
                continue
            if not output.is_tree:
                yield self._as_real(output.path), output.digest
                continue
            try:
                rows = self._cache.rows(output.digest) or ()
            except CorruptObjectError:  # then it says nothing
                continue
            above = f"{output.path}/"
            if above.startswith(self._named):
                above = self._as_real(above)
                yield from ((above + relpath, md5) for relpath, md5 in rows)
            else:  # what is asked for is in the output
                yield from ((self._as_real(above + relpath), md5) for relpath, md5 in rows)

    def _is_object(self, stamp: Stamp, md5: str) -> bool:
        try:
            status = os.stat(self._cache.file_of(md5))
        except OSError:
            return False
        return not status.st_mode & _WRITABLE and Stamp.of(status) == stamp

    def _as_real(self, path: str) -> str:
        return self._real + path[len(self._named) :] if path.startswith(self._named) else path

    def _as_named(self, path: str) -> str:
        return self._named + path[len(self._real) :]

    @functools.cached_property
    def _cache(self) -> Cache:
        return Cache(self._root)

    @functools.cached_property
    def _places(self) -> tuple[str, ...]:
        """The cache's directory, as links into it begin."""
        return tuple(
            {os.path.join(place, "") for place in (self._cache.path, os.path.realpath(self._cache.path))}
        )


def _is_hard_link(path: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink > 1


def _seen(path: str) -> tuple[bool, os.stat_result]:
    """Whether the path is a link, and what is there, or where that leads. Raises OSError."""
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return True, os.stat(path)
    return False, status
