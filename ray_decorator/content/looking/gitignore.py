"""What .gitignore files leave out, where git itself cannot be asked: without a repository, without git, or too often.

Not read: info/exclude of a linked worktree, and the user's core.excludesFile unless it is asked for.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec
from pathspec.pattern import Pattern, RegexMatchResult

from ...core.machine.directories import config_home

log = logging.getLogger(__name__)

_TIMEOUT = 60.0  # seconds
_ANY_FOLDER = re.compile(r"^(!?)\*\*?/\r?$")
_SLASH = "ps_d"  # pathspec's regex group for the slash after the folder that a line matches


@dataclass(frozen=True, slots=True)
class IgnoreFiles:
    """The rules that hold in a folder: each .gitignore's folder and lines, the topmost first.

    Whoever asks goes down from the top, and asks for every folder too: what is in an ignored one is never
    asked for. So a line counts where it matches a path itself alone, which GitIgnoreSpec does not tell.
    """

    specs: tuple[tuple[str, GitIgnoreSpec], ...] = ()

    def ignores(self, path: str, is_folder: bool) -> bool:
        found = self._deciding(path, is_folder)
        return found is not None and bool(found[1].include)

    def line(self, path: str, is_folder: bool) -> str | None:
        """The line that ignores it, as ``/app/.gitignore 'gen/'``; None where none does."""
        found = self._deciding(path, is_folder)
        if found is None or not found[1].include:
            return None
        return f"{found[0]}.gitignore {getattr(found[1], 'pattern', '')!r}"

    def _deciding(self, path: str, is_folder: bool) -> tuple[str, Pattern] | None:
        for base, spec in reversed(self.specs):
            for pattern in reversed(spec.patterns):
                if pattern.include is not None and _matches(pattern, path[len(base) :], is_folder):
                    return base, pattern
        return None

    def tracks(self, path: str) -> bool:
        """Whether a file is in the repository: nobody says."""
        return False

    def within(self, folder: str) -> IgnoreFiles:
        """With the folder's own .gitignore."""
        return self._with(folder, os.path.join(folder, ".gitignore"))

    def _with(self, base: str, file: str) -> IgnoreFiles:
        try:
            text = Path(file).read_bytes().decode("utf-8", "surrogateescape")
        except OSError:
            return self
        # as pathspec reads */, it matches a topmost folder alone
        lines = [_ANY_FOLDER.sub(r"\1?*/", line) for line in text.removeprefix("\ufeff").split("\n")]
        spec = GitIgnoreSpec.from_lines(line for line in lines if _is_valid(line))
        return IgnoreFiles((*self.specs, (os.path.join(base, ""), spec)))


def above(folder: str, top: str | None, *, users: bool = False) -> IgnoreFiles:
    """What holds in ``folder`` from further up, ``top`` being its repository: not its own .gitignore.

    ``users``: with the user's core.excludesFile.
    """
    files = IgnoreFiles()
    if top is None:
        return files
    files = files._with(top, os.path.join(top, ".git", "info", "exclude"))
    if users:
        files = files._with(top, _users_file(top))
    at = top
    for part in Path(os.path.relpath(folder, top)).parts:
        files = files.within(at)
        at = os.path.join(at, part)
    return files


def _users_file(top: str) -> str:
    """Where the user's own lines for all repositories are, as git has it; there may be no such file."""
    command = ["git", "-C", top, "config", "--type=path", "--get", "core.excludesFile"]
    environ = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    try:
        done = subprocess.run(command, env=environ, capture_output=True, timeout=_TIMEOUT)
    except (OSError, subprocess.SubprocessError) as exc:
        log.debug("%s: git does not say which core.excludesFile holds (%s)", top, exc)
    else:
        if done.returncode == 0:
            return os.path.join(top, os.fsdecode(done.stdout.removesuffix(b"\n")))
    return os.path.join(config_home(), "git", "ignore")


def ignoring(path: str, root: str) -> str | None:
    """The line of a .gitignore at or below ``root`` that ignores ``path``, or a folder that it is in."""
    files, at = IgnoreFiles(), root
    for part in Path(os.path.relpath(path, root)).parts:
        files, at = files.within(at), os.path.join(at, part)
        if (line := files.line(at, os.path.isdir(at))) is not None:
            return line
    return None


def _matches(pattern: Pattern, relpath: str, is_folder: bool) -> bool:
    """Whether it matches this path itself, and not only a folder further up."""
    found = pattern.match_file(relpath)
    if found and _slash(found) < 0:
        return True
    found = pattern.match_file(f"{relpath}/") if is_folder else None
    return found is not None and _slash(found) == len(relpath)


def _slash(found: RegexMatchResult) -> int:
    """Where the slash is after the folder that was matched; -1 where a line matches what is in it."""
    return found.match.start(_SLASH) if _SLASH in found.match.re.groupindex else -1


def _is_valid(line: str) -> bool:
    """Whether it is a pattern: git, too, passes over what is none."""
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
