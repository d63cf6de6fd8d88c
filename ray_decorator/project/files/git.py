"""What git says of a folder: which files it tracks, and which of the others it does not ignore.

Git reads its own configuration for it: .gitignore at every level, info/exclude, the user's core.excludesFile.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ...core.paths import upwards
from ..roots import is_in

log = logging.getLogger(__name__)

_TIMEOUT = 60.0  # seconds
_SUBMODULE = b"160000 "  # its mode in an index
_UNREADABLE = re.compile(rb"^warning: could not open directory '(.*)/': ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Listing:
    """What git lists below a folder, as absolute paths.

    ``files`` are those that it tracks, which may be gone, and those that it does not ignore; ``folders`` are
    all that hold such files, and those that git could not read, and so could not look for files in.
    """

    tracked: frozenset[str]
    files: frozenset[str]
    folders: frozenset[str]

    def ignores(self, path: str, is_folder: bool) -> bool:
        return path not in (self.folders if is_folder else self.files)

    def tracks(self, path: str) -> bool:
        """Whether the file is in the repository."""
        return path in self.tracked

    def within(self, folder: str) -> Listing:
        """The rules that hold in ``folder``: git has looked at all levels already."""
        return self


def repository(folder: str, stop: Collection[str]) -> str | None:
    """The top of the git working tree that ``folder`` is in, if that is below all of ``stop``."""
    return next((at for at in upwards(folder, stop) if os.path.lexists(os.path.join(at, ".git"))), None)


def listing(folder: str, top: str, closed: Iterable[str] = ()) -> Listing | None:
    """What git lists below ``folder``, a part of the repository ``top``; None where it cannot be run.

    ``folder`` itself counts as not ignored. Git need not look into the folders ``closed``.
    """
    try:
        tracked, others, unreadable = _list(folder, top, tuple(closed))
    except (OSError, subprocess.SubprocessError) as exc:
        log.debug("%s: going by .gitignore files, for git does not list it (%s)", folder, exc)
        return None
    folders = set(unreadable)
    for path in (*tracked, *others, *unreadable):
        parent = os.path.dirname(path)
        while parent not in folders and is_in(parent, folder):
            folders.add(parent)
            parent = os.path.dirname(parent)
    return Listing(frozenset(tracked), frozenset(tracked | others), frozenset(folders))


def _list(folder: str, top: str, closed: tuple[str, ...]) -> tuple[set[str], set[str], set[str]]:
    """The files that git tracks, those that it does not know and does not ignore, unreadable folders."""
    lines = [_pattern(path, top) for path in closed if is_in(path, top) and path != top]
    lines += _reopening(folder, top)  # the last match decides
    exclude = [argument for line in lines for argument in ("--exclude", line)]
    cached = _git(folder, top, "ls-files", "--cached", "--stage", "-z").stdout.split(b"\0")
    asked = _git(folder, top, "ls-files", "--others", "--exclude-standard", "-z", *exclude)
    found = {os.path.join(folder, os.fsdecode(path)) for path in asked.stdout.split(b"\0") if path}
    # below the top, not the folder
    unreadable = {os.path.join(top, os.fsdecode(path)) for path in _UNREADABLE.findall(asked.stderr)}
    inner = {path for path in found if path.endswith("/")}  # repositories that this one does not know
    others = found - inner
    tracked: set[str] = set()
    for row in cached:
        path = os.path.join(folder, os.fsdecode(row.partition(b"\t")[2]))
        (inner if row.startswith(_SUBMODULE) else tracked).add(path)
    tracked.discard(os.path.join(folder, ""))  # the end of the output
    for path in {path.rstrip("/") for path in inner}:
        if os.path.lexists(os.path.join(path, ".git")):
            theirs = _list(path, path, closed)
            tracked |= theirs[0]
            others |= theirs[1] - _ignored(theirs[1], folder, top)
            unreadable |= theirs[2]
    return tracked, others, unreadable


def _pattern(path: str, base: str) -> str:
    """The line of a .gitignore in ``base`` that means ``path`` alone."""
    return "/" + re.sub(r"([\\*?\[ ])", r"\\\1", path[len(os.path.join(base, "")) :])


def _reopening(folder: str, base: str) -> list[str]:
    """Lines that, after all others of a .gitignore in ``base``, let one look into ``folder``."""
    lines: list[str] = []
    while is_in(folder, base) and folder != base:
        lines.insert(0, f"!{_pattern(folder, base)}/")
        folder = os.path.dirname(folder)
    return lines


def _ignored(paths: Collection[str], folder: str, top: str) -> set[str]:
    """Which of an inner repository's files the outer one ignores; none where it ignores all of ``folder``."""
    given = b"\0".join(map(os.fsencode, (*paths, folder)))
    done = _git(top, top, "check-ignore", "--no-index", "--stdin", "-z", given=given, fine=(0, 1))
    ignored = {os.fsdecode(path) for path in done.stdout.split(b"\0")}
    return set() if folder in ignored else ignored


def _git(
    folder: str, top: str, *arguments: str, given: bytes | None = None, fine: Collection[int] = (0,)
) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "-C", folder, "-c", "core.fsmonitor=false", *arguments]
    done = subprocess.run(command, input=given, env=_environ(top), capture_output=True, timeout=_TIMEOUT)
    if done.returncode not in fine:
        raise subprocess.CalledProcessError(done.returncode, command[:2], done.stdout, done.stderr)
    return done


def _environ(top: str) -> dict[str, str]:
    # a hook's own GIT_DIR or GIT_INDEX_FILE would lead to another repository; the user's configuration counts
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_") or _is_config(name)
    }
    # no repository further up, if this one is broken; messages in English
    return environ | {"GIT_CEILING_DIRECTORIES": os.path.dirname(top), "LC_ALL": "C"}


def _is_config(name: str) -> bool:
    return name.startswith("GIT_CONFIG_") and name != "GIT_CONFIG_PARAMETERS"


def ignoring(path: str, top: str) -> str | None:
    """The line of the repository ``top`` that ignores ``path``, as ``/app/.gitignore:3 'gen/'``.

    None where none does, or git does not say.
    """
    try:
        given = os.fsencode(path)
        done = _git(top, top, "check-ignore", "--verbose", "--stdin", "-z", given=given, fine=(0, 1))
    except (OSError, subprocess.SubprocessError) as exc:
        log.debug("%s: git does not say what ignores it (%s)", path, exc)
        return None
    source, line, pattern = (os.fsdecode(part) for part in (*done.stdout.split(b"\0"), b"", b"")[:3])
    return f"{os.path.join(top, source)}:{line} {pattern!r}" if pattern else None
