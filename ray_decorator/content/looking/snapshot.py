"""What a local path holds, by content: its files, each with its md5, at one moment, and its extras.

What counts, and what is left out, is told in look.py. Unlike dvc, what is left out is told.
"""

from __future__ import annotations

import functools
import logging
import operator
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ...core.errors import InputError, reworded
from ...core.progress import Progress
from ...core.values.contents import Content, Extras
from .. import manifest
from ..hashes.hash_cache import HashCache, Stamp
from ..hashes.hashing import Known, Md5s, cannot_be_read, changed, hash_files
from .look import Found, Look, look
from .selection import Selection

log = logging.getLogger(__name__)

_MANY = 1000  # files; of fewer, the md5s are found as fast one by one
_CTIME = operator.itemgetter(Stamp._fields.index("ctime"))
_MOST_LINKS = 3
_MOST_LEFT_OUT = 5

_spoken_of: set[str] = set()
"""Directories whose links were warned of in this process, which may take them again for each call."""


class Entry(NamedTuple):
    """A file as it was when hashed: ``relpath`` is ``""`` where the snapshot is of a single file.

    ``stamp``: while the file has it, its bytes are certain to have this md5. None where only the bytes tell.
    ``is_unread``: the md5 was known without reading the file.
    """

    relpath: str
    path: str
    size: int
    md5: str
    stamp: Stamp | None
    is_unread: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a path held, by content. Most are of what a store has already, and nobody asks for more."""

    path: str
    content: Content
    _found: Found
    _md5s: Callable[[], Md5s]

    def within(self, area: str) -> Snapshot:
        """The same, to be kept in this area of a store."""
        return replace(self, content=replace(self.content, area=area))

    @property
    def manifest(self) -> bytes | None:
        """A directory's manifest, as the store keeps it; None for a single file."""
        if not self.content.is_tree:
            return None
        digest, data = manifest.dump(_rows(self._found, self._md5s()))
        if digest != self.content.digest:  # only where the hash cache is spoilt
            raise InputError(changed(self.path))
        return data

    @property
    def names(self) -> frozenset[str]:
        """The files' paths in it; nothing is hashed for them."""
        return frozenset(relpath for relpath, _ in self._found.files)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The files, in no order."""
        stamps, (md5s, settled, unread) = self._found.stamps, self._md5s()
        return tuple(
            Entry(
                relpath,
                path,
                stamps[path].size,
                md5s[path],
                stamps[path] if path in settled else None,
                path in unread,
            )
            for relpath, path in self._found.files
            if path in md5s
        )


def snapshot(
    path: Path,
    hashes: HashCache,
    progress: Progress,
    *,
    lenient: bool = False,
    selection: Selection | None = None,
    known: Callable[[Found], Known] | None = None,
    quiet: bool = False,
) -> Snapshot:
    """Hash a file or a whole directory, but for what ``hashes`` has unchanged and what is ``known`` otherwise.

    ``selection`` says what of a directory counts; None: all of it. What it leaves out is not looked at.
    Raises InputError naming every entry that cannot be read or is neither file nor directory. With
    ``lenient`` such entries of a directory are left out, with a warning: for what a job has written, and
    cannot be asked to write again. Either way an entry that changes meanwhile is an error. ``quiet``: it goes
    nowhere, so nothing is said; links to directories, which are not followed, are then an error, unless ``lenient``.
    """
    root = os.path.realpath(path)
    taken = time.time_ns()
    seen = look(root, path, selection)
    if seen.bad and not lenient:
        raise _error(seen.bad)
    if quiet and seen.not_followed and not lenient:
        raise InputError(f"{path}: has links to directories, which are not followed")
    stamps, unreadable = seen.found.stamps, seen.bad if lenient else None
    sure = None if known is None else known(seen.found)

    @functools.cache
    def md5s() -> Md5s:
        return hash_files(
            stamps, root, taken, hashes, progress, prune=True, unreadable=unreadable, known=sure
        )

    fingerprint = seen.found.fingerprint() if len(stamps) >= _MANY and not lenient else None
    if fingerprint and (content := hashes.tree(root, fingerprint, seen.found.devices)):
        if not quiet:
            _warn(path, root, seen, lenient)
        return Snapshot(root, content, seen.found, md5s)
    md5s()
    if root in seen.bad:
        raise _error(seen.bad)
    if not quiet:
        _warn(path, root, seen, lenient)
    made = made_of_md5s(root, seen.found, md5s())
    if fingerprint and not max(stamps.values(), key=_CTIME).is_fresh(taken):
        hashes.record_tree(root, fingerprint, made.content)
    return made


def taken_from(path: Path) -> Found:
    """What a lenient `snapshot` takes; no file is read."""
    root = os.path.realpath(path)
    seen = look(root, path)
    _warn(path, root, seen, lenient=True)
    return seen.found


def snapshot_of(files: Sequence[tuple[str, str]], hashes: HashCache, progress: Progress) -> Snapshot:
    """A directory of chosen files, each (path in it, with ``/``; absolute path). Always a tree, if empty too.

    Each path in it is given once. Raises InputError naming every file that is gone, cannot be read, is no
    file, or changes while it is read.
    """
    taken = time.time_ns()
    problems: list[str] = []
    found = Found()
    for relpath, path in files:
        _choose(relpath, path, found, problems)
    if problems:
        raise InputError(tuple(sorted(problems)))
    parts: dict[str, dict[str, Stamp]] = {}
    for relpath, path in found.files:
        # one look into the cache for each of the few folders that the files come from
        parts.setdefault(relpath.partition("/")[0], {})[path] = found.stamps[path]
    md5s = Md5s({}, frozenset())
    for part in parts.values():
        root = os.path.commonpath([os.path.dirname(path) for path in part])
        more = hash_files(part, root, taken, hashes, progress)
        md5s = Md5s(md5s.by_path | more.by_path, md5s.settled | more.settled, md5s.unread | more.unread)
    return made_of_md5s(os.path.commonpath(found.stamps) if found.stamps else "", found, md5s)


def made_of_md5s(root: str, found: Found, md5s: Md5s) -> Snapshot:
    """The snapshot of those files whose md5s are known."""
    rows = _rows(found, md5s)
    size = sum(found.stamps[path].size for _, path in found.files if path in md5s.by_path)
    executables = found.executables and found.executables.intersection(relpath for relpath, _ in rows)
    is_file = len(rows) == 1 and not rows[0][0]
    digest = rows[0][1] if is_file else manifest.dump(rows)[0]
    content = Content(digest, size, len(rows), tuple(sorted(executables)), _extras(found, rows))
    return Snapshot(root, content, found, lambda: md5s)


def _extras(found: Found, rows: list[tuple[str, str]]) -> Extras:
    """Of what could be read: a link to another file is one that leads nowhere."""
    if len(rows) == len(found.files):
        return found.extras
    known = {relpath for relpath, _ in rows}
    gone = {relpath for relpath, _ in found.files} - known
    extras = found.extras
    return Extras(
        tuple(item for item in extras.private if item[0] not in gone),
        extras.folders,
        tuple(item for item in extras.links if item[0] not in gone),
    )


def _rows(found: Found, md5s: Md5s) -> list[tuple[str, str]]:
    known = md5s.by_path
    return [(relpath, known[path]) for relpath, path in found.files if path in known]


def _choose(relpath: str, path: str, found: Found, problems: list[str]) -> None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        problems.append(changed(path))
        return
    except OSError as exc:
        problems.append(f"{path}: {cannot_be_read(exc)}")
        return
    if stat.S_ISREG(status.st_mode):
        found.add(relpath, path, status)
    else:
        problems.append(changed(path))


def _error(bad: Mapping[str, str]) -> InputError:
    return InputError.of(sorted(reworded(why, f"{path}: {why}") for path, why in bad.items()))


def _warn(named: Path, root: str, seen: Look, lenient: bool) -> None:
    """Say what the snapshot of a directory goes without, and, of a lenient one, what it takes from elsewhere."""
    if seen.bad:
        left_out = [f"{os.path.relpath(path, root)}: {why}" for path, why in sorted(seen.bad.items())]
        log.warning(
            "%s: left out, since only files and directories that can be read are taken: %s",
            named,
            _some(left_out, _MOST_LEFT_OUT),
        )
    if seen.skipped and lenient:
        log.warning(
            "%s: left out, since it is version control's own: %s",
            named,
            _some(sorted(seen.skipped), _MOST_LEFT_OUT),
        )
    if lenient and (led_out := seen.led_out):
        log.warning(
            "%s: links that lead out of it are replaced by the files that they lead to (%s)",
            named,
            _some(_arrows(led_out), _MOST_LINKS),
        )
    if seen.not_followed and (lenient or root not in _spoken_of):
        _spoken_of.add(root)
        log.warning(
            "%s: links to directories are not followed, and so left out (%s). Name each path that is needed "
            "in deps or outs itself, or put a copy in the link's place",
            named,
            _some(_arrows(seen.not_followed), _MOST_LINKS),
        )


def _arrows(links: Mapping[str, str]) -> list[str]:
    return [f"{link} -> {leads_to}" for link, leads_to in sorted(links.items())]


def _some(texts: Sequence[str], most: int) -> str:
    return "; ".join(texts[:most]) + (f"; … ({len(texts)} in all)" if len(texts) > most else "")
