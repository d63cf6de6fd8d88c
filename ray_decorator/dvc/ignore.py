"""What ``.dvcignore`` files leave out, by the rules of dvc itself (``dvc/ignore.py``, ``dvc/pathspec_math.py``).

A file's lines hold below its folder, written as those of a ``.gitignore``; the last line that matches decides. A
``.dvcignore`` that is left out itself is not read. Inside a repository, another one is left out as a whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from ..content.looking import gitignore
from ..core.errors import InputError
from ..core.paths import upwards
from . import config
from .repository import DVC_DIR, root_of

try:
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern as _Pattern
except ImportError:  # before pathspec 1
    from pathspec.patterns import GitWildMatchPattern as _Pattern  # type: ignore[attr-defined]

FILE = ".dvcignore"

_NAMED = re.compile(r"\(\?P<\w+>")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line, as it holds from the repository's root. ``regex`` matches paths from there, with ``/``.

    ``source`` is how a message names it: ``data/.dvcignore:3: *.tmp``.
    """

    regex: str
    ignores: bool
    folders_only: bool
    source: str


@dataclass(frozen=True)
class Rules:
    """All that holds in a folder of a repository, the weakest rule first."""

    rules: tuple[Rule, ...] = ()

    def ignores(self, path: str, is_folder: bool) -> bool:
        """Whether they leave out this very path, from the root. A folder further up is another question."""
        for regex, ignores, folders_only in self._groups:
            if (is_folder or not folders_only) and _matches(regex, path, is_folder):
                return ignores
        return False

    def decisive(self, path: str, is_folder: bool) -> Rule | None:
        """The rule that decides about this very path."""
        for rule in reversed(self.rules):
            if (is_folder or not rule.folders_only) and _matches(re.compile(rule.regex), path, is_folder):
                return rule
        return None

    @cached_property
    def _groups(self) -> list[tuple[re.Pattern[str], bool, bool]]:
        """Neighbours of one kind as one expression, the strongest first."""
        kinds = groupby(reversed(self.rules), key=lambda rule: (rule.ignores, rule.folders_only))
        return [(re.compile("|".join(f"(?:{rule.regex})" for rule in rules)), *kind) for kind, rules in kinds]


@dataclass(frozen=True)
class IgnoreFolder:
    """What counts in a folder of the repository ``root``: a `content.looking.selection.Selection`.

    ``relpath`` is the folder's, from the root, ``""`` for the root itself. ``outer`` are the rules from further up.
    """

    root: str
    relpath: str
    outer: Rules

    def leaves_out(self, name: str, is_folder: bool) -> bool:
        if not (self._rules.rules or is_folder):
            return False  # as of most files
        if self.names(name, is_folder):
            return True
        return is_folder and os.path.exists(os.path.join(self.root, self.relpath, name, DVC_DIR))

    def names(self, name: str, is_folder: bool) -> bool:
        """As `leaves_out`, but a repository of its own is no reason."""
        return self._is_out or self._rules.ignores(_joined(self.relpath, name), is_folder)

    def within(self, name: str) -> IgnoreFolder:
        return IgnoreFolder(self.root, _joined(self.relpath, name), self._rules)

    def why(self, name: str, is_folder: bool) -> str | None:
        """What leaves the entry out, for a message; None where nothing does."""
        if not self.leaves_out(name, is_folder):
            return None
        rule = self._rules.decisive(_joined(self.relpath, name), is_folder)
        return rule.source if rule is not None and rule.ignores else "a DVC repository of its own"

    @cached_property
    def _rules(self) -> Rules:
        path = _joined(self.relpath, FILE)
        file = os.path.join(self.root, path)
        if self.outer.ignores(path, False) or not os.path.exists(file):
            return self.outer
        return Rules((*self.outer.rules, *_read(file, self.relpath)))

    @cached_property
    def _is_out(self) -> bool:
        """Whether its own rules leave out a folder that it is in: those from further up do not."""
        parts = self.relpath.split("/") if self.relpath else []
        return any(self._rules.ignores("/".join(parts[: n + 1]), True) for n in range(len(parts)))


class Ignores:
    """The ``.dvcignore`` files of this disk, each read once."""

    def __init__(self) -> None:
        self._folders: dict[str, IgnoreFolder] = {}
        self._lines: dict[str, IgnoreFolder | str | None] = {}

    def selection(self, path: str | os.PathLike[str]) -> IgnoreFolder | None:
        """What counts in the directory ``path``; None where that is in no DVC repository, and all of it counts.

        Raises InputError where a rule leaves out the path itself, and for a ``.dvcignore`` that cannot be read.
        """
        path = os.path.abspath(path)
        root = root_of(path)
        return None if root is None else self._folder(path, root)

    def line(self, path: str, is_folder: bool) -> str | None:
        """The line that leaves out the path, or a folder that it is in, in whatever repository; None: no line does.

        Raises InputError for a ``.dvcignore`` that cannot be read.
        """
        above, name = self._above(os.path.dirname(path)), os.path.basename(path)
        if isinstance(above, str):
            return above
        return above.why(name, is_folder) if above is not None and above.names(name, is_folder) else None

    def _above(self, folder: str) -> IgnoreFolder | str | None:
        """What holds in the folder: its repository's rules, the line that leaves it out, or nothing."""
        if folder not in self._lines:
            top = os.path.ismount(folder)
            line = None if top else self.line(folder, True)
            outer = None if top else self._above(os.path.dirname(folder))
            if line is None and os.path.isdir(os.path.join(folder, DVC_DIR)):
                self._lines[folder] = IgnoreFolder(folder, "", Rules())
            elif isinstance(outer, IgnoreFolder):
                self._lines[folder] = line or outer.within(os.path.basename(folder))
            else:
                self._lines[folder] = outer
        return self._lines[folder]

    def _folder(self, path: str, root: str) -> IgnoreFolder:
        if path not in self._folders:
            self._folders[path] = self._made(path, root)
        return self._folders[path]

    def _made(self, path: str, root: str) -> IgnoreFolder:
        if path == root:
            return IgnoreFolder(root, "", Rules())
        name = os.path.basename(path)
        outer = self._folder(os.path.dirname(path), root)
        if why := outer.why(name, os.path.isdir(path)):
            raise InputError(
                f"{path}: is left out by {why}, and what {FILE} names does not leave this machine. Correct the "
                f"key's value, or let a line that starts with ! in that {FILE} take it in again"
            )
        return outer.within(name)


def git_of(root: str) -> str | None:
    """The repository of git that DVC's ``root`` is in; None where DVC does without git."""
    top = next((at for at in upwards(root) if os.path.lexists(os.path.join(at, ".git"))), None)
    if top is None or str(config.load(root)["core"].get("no_scm")).lower() == "true":
        return None
    return top


def gits_rules(root: str) -> gitignore.IgnoreFiles | None:
    """What git ignores in DVC's repository ``root`` from further up; None where DVC does without git."""
    top = git_of(root)
    return None if top is None else gitignore.above(root, top, users=True)


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _matches(regex: re.Pattern[str], path: str, is_folder: bool) -> bool:
    return bool(regex.match(path) or (is_folder and regex.match(f"{path}/")))


def _read(file: str, folder: str) -> list[Rule]:
    try:
        lines = Path(file).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(
            f"{file}: cannot be read ({exc}); what it names must not leave this machine"
        ) from exc
    rules: list[Rule] = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and not line.startswith("#"):
            rules += _rule(line, folder, f"{file}:{number}: {line}")
    return rules


def _rule(line: str, folder: str, source: str) -> Sequence[Rule]:
    pattern = _from_root(line, folder) if folder else line
    try:
        regex, ignores = _Pattern.pattern_to_regex(pattern)
    except ValueError as exc:
        raise InputError(f"{source}: is no pattern that DVC understands ({exc})") from exc
    if regex is None or ignores is None:
        return ()
    # a name may stand only once in a joined expression
    return (Rule(_NAMED.sub("(?:", regex), ignores, pattern.endswith("/"), source),)


def _from_root(line: str, folder: str) -> str:
    """The line of a folder's file as the root's would say it (``pathspec_math.change_rule``)."""
    negation, rule = ("!", line[1:]) if line.startswith("!") else ("", line)
    anchored = "/" in rule[:-1] and not rule.startswith("**/")
    rule = rule.removeprefix("/") if anchored else rule.removeprefix("**/")
    rule = rule.removeprefix("\\")
    return f"{negation}/{folder}/{rule}" if anchored else f"{negation}/{folder}/**/{rule}"
