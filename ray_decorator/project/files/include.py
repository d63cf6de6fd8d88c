"""Files that the user names as code: ``code_include``, lines as in a .gitignore at the root of each project.

They travel also where git ignores them, where they look like secrets and where earlier runs brought them home.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pathspec import GitIgnoreSpec
from pathspec.pattern import Pattern

from ...core.errors import InputError

_WILD = frozenset("*?[\\")


@dataclass(frozen=True, slots=True)
class _Line:
    """One line. ``start`` is the path in a root below which all is that it can match; "" for the whole root."""

    text: str
    pattern: Pattern
    start: str


class Include:
    """The lines, and which of them have matched a file so far. Raises InputError for what is no line."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._lines = tuple(map(_line, patterns))
        self._used: set[str] = set()

    @property
    def unused(self) -> tuple[str, ...]:
        """The lines that have matched nothing, but for those that begin with ``!``."""
        return tuple(
            line.text for line in self._lines if line.pattern.include and line.text not in self._used
        )

    def find(self, root: str, is_closed: Callable[[str], bool], *, deep: bool = True) -> Iterator[str]:
        """Absolute paths of the files below ``root`` that they name.

        Folders that ``is_closed`` are not looked into. Not ``deep``: a line without a slash is of the root alone.
        """
        for start in _outermost(line.start for line in self._lines if line.pattern.include):
            for path in _files(os.path.join(root, start), is_closed, deep=deep or bool(start)):
                if self._matches(os.path.relpath(path, root)):
                    yield path

    def _matches(self, relpath: str) -> bool:
        matched = False
        for line in self._lines:
            if line.pattern.match_file(relpath) is not None:
                matched = bool(line.pattern.include)
                self._used.add(line.text)
        return matched


def _line(text: str) -> _Line:
    try:
        pattern = next(iter(GitIgnoreSpec.from_lines([text]).patterns), None)
    except ValueError as exc:
        raise InputError(f"code_include: {text!r} is no line of a .gitignore ({exc})") from exc
    if pattern is None or pattern.include is None:
        raise InputError(
            f"code_include: {text!r} names no file; expected a line of a .gitignore, such as 'gen/'"
        )
    return _Line(text, pattern, _start_of(text))


def _start_of(text: str) -> str:
    parts = text.strip("/").split("/")
    if len(parts) == 1 and not text.startswith("/"):
        return ""  # at any depth
    return "/".join(itertools.takewhile(lambda part: not _WILD & set(part), parts))


def _outermost(starts: Iterable[str]) -> list[str]:
    found: list[str] = []
    for start in sorted(set(starts)):
        if not any(not outer or f"{start}/".startswith(f"{outer}/") for outer in found):
            found.append(start)
    return found


def _files(top: str, is_closed: Callable[[str], bool], *, deep: bool) -> Iterator[str]:
    if os.path.isfile(top):
        yield top
    for folder, inner, names in os.walk(top):
        yield from (os.path.join(folder, name) for name in names)
        inner[:] = [name for name in inner if deep and not is_closed(os.path.join(folder, name))]
