"""What git would leave out: .gitignore files at every level, as git reads them, and what it tracks anyway.

A file's own last matching line decides, the deepest .gitignore first (gitignore(5)). Whoever asks goes down
from the top and asks for every folder too: what lies in an ignored folder is never asked for. Not read: the
user's global core.excludesFile.
"""

from __future__ import annotations

import functools
import logging
import os
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import pathspec
from pathspec.pattern import Pattern

log = logging.getLogger(__name__)

_WILD = frozenset("*?[\\")
_BY_A_PARENT = "ps_d"  # pathspec's regex group that took part if the line matches a folder further up
_GIT_SECONDS = 60.0


class _Rule(NamedTuple):
    """One line. ``text`` is a name, or, if not ``by_name``, a path below the .gitignore's folder."""

    line: int
    ignored: bool
    folders_only: bool
    by_name: bool
    text: str

    def matches(self, relpath: str, name: str) -> bool:
        pattern = _pattern(self.text if self.by_name else f"/{self.text}")
        found = pattern.match_file(name if self.by_name else relpath) if pattern else None
        return found is not None and not found.match.groupdict().get(_BY_A_PARENT)


class IgnoreFile:
    """The lines of one .gitignore, for files below the absolute path ``base``."""

    def __init__(self, base: str, text: str) -> None:
        self._cut = len(base.rstrip("/")) + 1
        self._literal: dict[tuple[bool, str], list[_Rule]] = {}
        self._wild: list[_Rule] = []
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n")):
            rule = _rule(number, line)
            if rule is None:
                continue
            if _WILD.isdisjoint(rule.text):
                self._literal.setdefault((rule.by_name, rule.text), []).insert(0, rule)
            else:
                self._wild.insert(0, rule)

    def verdict(self, path: str, name: str, folder: bool) -> bool | None:
        """Whether the absolute ``path`` is ignored; None if no line says anything of it."""
        relpath = path[self._cut :]
        last = None
        for key in ((True, name), (False, relpath)):
            for rule in self._literal.get(key, ()):
                if (folder or not rule.folders_only) and (last is None or rule.line > last.line):
                    last = rule
        for rule in self._wild:
            if last is not None and rule.line < last.line:
                break
            if (folder or not rule.folders_only) and rule.matches(relpath, name):
                last = rule
                break
        return None if last is None else last.ignored


Ignores = tuple[IgnoreFile, ...]
"""Those that hold in a folder, the topmost first."""


def is_ignored(ignores: Ignores, path: str, name: str, folder: bool) -> bool:
    """Whether git would ignore the absolute ``path``, of which ``name`` is the last part."""
    for file in reversed(ignores):
        verdict = file.verdict(path, name, folder)
        if verdict is not None:
            return verdict
    return False


def read(base: str, path: str) -> Ignores:
    """The file ``path``, holding for what is below ``base``; empty where it cannot be read, as with git."""
    try:
        data = Path(path).read_bytes()
    except OSError:
        return ()
    return (IgnoreFile(base, data.decode("utf-8", "surrogateescape")),)


def repository(folder: str, stop: Collection[str]) -> str | None:
    """The top of the git working tree that ``folder`` is in, if that is below all of ``stop``."""
    at = folder
    while at not in stop:
        if os.path.lexists(os.path.join(at, ".git")):
            return at
        at = os.path.dirname(at)
    return None


def above(folder: str, top: str) -> Ignores:
    """What holds in ``folder`` from further up, ``top`` being its repository: not its own .gitignore."""
    ignores: Ignores = read(top, os.path.join(_git_folder(top), "info", "exclude"))
    at = top
    for part in Path(os.path.relpath(folder, top)).parts:
        ignores += read(at, os.path.join(at, ".gitignore"))
        at = os.path.join(at, part)
    return ignores


def tracked(folder: str) -> set[str]:
    """The absolute paths below ``folder`` that git tracks; empty where git cannot be run, or will not."""
    command = ["git", "-C", folder, "-c", "core.fsmonitor=false", "ls-files", "-z"]
    # a hook's own GIT_DIR or GIT_INDEX_FILE would lead to another repository
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        ran = subprocess.run(command, env=environ, capture_output=True, check=True, timeout=_GIT_SECONDS)
    except (OSError, subprocess.SubprocessError) as exc:
        log.debug("%s: going by .gitignore alone, git does not say what it tracks (%s)", folder, exc)
        return set()
    return {os.path.join(folder, os.fsdecode(path)) for path in ran.stdout.split(b"\0") if path}


def _rule(number: int, line: str) -> _Rule | None:
    text = line.removesuffix("\r")
    if text.startswith("#"):
        return None
    ignored = not text.startswith("!")
    text = text if ignored else text[1:]
    text = text if "\\" in text else text.rstrip(" ")
    folders_only = text.endswith("/")
    text = text.removesuffix("/")
    if text.startswith("**/") and "/" not in text[3:]:
        text = text[3:]
    by_name = "/" not in text
    text = text.removeprefix("/")
    return _Rule(number, ignored, folders_only, by_name, text) if text else None


@functools.lru_cache(maxsize=4096)
def _pattern(line: str) -> Pattern | None:
    # a name that begins with a mark of the syntax has lost it already: what is left is meant literally
    line = f"\\{line}" if line[0] in "!#" else line
    try:
        patterns = list(pathspec.GitIgnoreSpec.from_lines([line]).patterns)
    except ValueError:  # git never matches such a line either
        return None
    return patterns[0] if patterns and patterns[0].include is not None else None


def _git_folder(top: str) -> str:
    """The repository's own folder, also for a linked worktree, where ``.git`` is a file that names it."""
    folder = Path(top, ".git")
    try:
        if folder.is_file():
            folder = Path(top, folder.read_text().partition("gitdir:")[2].strip())
            common = folder / "commondir"
            if common.is_file():
                folder /= common.read_text().strip()
    except (OSError, ValueError):
        return os.path.join(top, ".git")
    return str(folder)
