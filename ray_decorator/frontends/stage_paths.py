"""Which paths of calls travel: those that keys name, and with ``deps: dvc``, ``outs: dvc``, those of a DVC stage.

A value of a config (or of an argument) belongs to the stage's dep or out that it is, or is inside of; a directory
above outs that no value names is an out as well. What no value names is said; where keys are listed, so is how they
differ from the stage.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..core import slots
from ..core.errors import InputError
from ..core.paths import parents
from ..core.values.model import PathSlot
from ..dvc import running
from ..dvc.tracked.stages import Stage
from ..project import driver
from .terms import Terms

log = logging.getLogger(__name__)

Kind = Literal["deps", "outs"]
_KINDS: tuple[Kind, ...] = ("deps", "outs")


@dataclass(frozen=True, slots=True)
class Found:
    """The paths of one call, and what is wrong with its keys."""

    deps: tuple[PathSlot, ...]
    outs: tuple[PathSlot, ...]
    problems: tuple[str, ...]


@dataclass(slots=True)
class _Seen:
    """What was met of one kind: keys of the stage's paths, and what is on one side alone."""

    keys: dict[str, None] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    unlisted: dict[str, None] = field(default_factory=dict)
    foreign: dict[str, None] = field(default_factory=dict)
    below: dict[str, str] = field(default_factory=dict)


class StagePaths:
    """Finds the paths of all calls of a batch."""

    def __init__(self, terms: Terms, start: Path, hidden: str = "") -> None:
        """``start`` and ``hidden`` are as in `slots.find`.

        Raises InputError where the terms want a stage, and there is none.
        """
        self._terms, self._start, self._hidden = terms, start, hidden
        self._folders: dict[str, str] = {}
        self._stage = _stage(terms, start)
        of = {kind: getattr(self._stage, kind, ()) for kind in _KINDS}
        self._of = {kind: list(map(self._comparable, paths)) for kind, paths in of.items()}
        self._persistent = set(map(self._comparable, self._stage.persistent)) if self._stage else set()
        self._seen = {kind: _Seen() for kind in _KINDS}
        self._workspaces: set[str] = set()
        self._has_told = False

    @property
    def carries_data(self) -> bool:
        """Whether calls have any deps or outs."""
        return bool(self._terms.deps or self._terms.outs or self._terms.from_stage)

    def find(self, root: Any, workspace: Path | None = None) -> Found:
        """The paths in ``root``. ``workspace`` is a directory that comes home in any case."""
        deps, wrong = slots.find(root, self._terms.deps, kind="deps", start=self._start, hidden=self._hidden)
        outs, wrong_outs = slots.find(
            root, self._terms.outs, kind="outs", start=self._start, hidden=self._hidden
        )
        # where keys are listed, the stage is only to be compared with them, once
        if self._stage is not None and (self._terms.from_stage or not self._has_told):
            self._workspaces |= {os.path.realpath(workspace)} if workspace else set()
            deps, outs = self._of_stage(root, deps, outs)
        return Found(deps, outs, (*wrong, *wrong_outs))

    def tell(self) -> None:
        """Say, once, what the stage's paths are called here, and what no key names."""
        if self._stage is None or self._has_told:
            return
        self._has_told = True
        name = f"stage {self._stage.name!r} of {os.path.relpath(self._stage.file)}"
        if self._terms.from_stage:
            taken = "; ".join(
                f"{kind} {self._shown(kind)}" for kind in _KINDS if kind in self._terms.from_stage
            )
            log.info("S%s: %s", name[1:], taken)
        if unnamed := self._unnamed("outs"):
            log.warning(
                "No key names %s, which %s writes: what a job on another machine writes there does not come home. "
                "Name the path in the config, and write to what the config says",
                ", ".join(unnamed),
                name,
            )
        if differences := [each for kind in _KINDS for each in self._differences(kind)]:
            log.warning("The keys differ from %s: %s", name, "; ".join(differences))

    def _of_stage(
        self, root: Any, deps: tuple[PathSlot, ...], outs: tuple[PathSlot, ...]
    ) -> tuple[tuple[PathSlot, ...], tuple[PathSlot, ...]]:
        listed: dict[Kind, tuple[PathSlot, ...]] = {"deps": deps, "outs": outs}
        known = {kind: {path.slot for path in paths} for kind, paths in listed.items()}
        taken: dict[Kind, list[PathSlot]] = {"deps": list(deps), "outs": list(outs)}
        values = [
            (slot, key, path, self._comparable(path))
            for slot, key, path in slots.paths(root, start=self._start, hidden=self._hidden)
        ]
        above = self._above_outs([at for _, _, _, at in values])
        for slot, key, path, at in values:
            for kind in _KINDS:
                self._note(kind, key, at, slot in known[kind], at in above)
                if slot in known[kind] or kind not in self._terms.from_stage:
                    continue
                if _covering(at, self._of[kind]) or (at in above if kind == "outs" else self._is_kept(at)):
                    taken[kind].append(PathSlot.at(slot, key, path))
        for kind in _KINDS:
            for each in listed[kind]:
                self._note_listed(kind, each)
        return tuple(taken["deps"]), tuple(taken["outs"])

    def _is_kept(self, at: str) -> bool:
        """Whether it is an out that DVC leaves for the next run, which may read it."""
        return at in self._persistent and os.path.exists(at)

    def _above_outs(self, values: Sequence[str]) -> set[str]:
        """Which of a call's values are directories that the stage's outs are in, and no other value names those.

        DVCLive's, say: the stage has dvclive/metrics.json and dvclive/plots, the config dvclive.
        """
        if "outs" not in self._terms.from_stage:
            return set()
        named = {path for at in values if (path := _covering(at, self._of["outs"])) is not None}
        inside = [at for at in values if at.startswith(f"{self._start}{os.sep}")]
        return {
            at for at in inside if (below := _below(at, self._of["outs"])) and not named.intersection(below)
        }

    def _comparable(self, path: str | os.PathLike[str]) -> str:
        """With links above it resolved, but not its own: DVC may have put a link into its cache there."""
        folder, name = os.path.split(os.path.normpath(path))
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)

    def _note(self, kind: Kind, key: str, at: str, is_listed: bool, is_above: bool) -> None:
        seen, below = self._seen[kind], _below(at, self._of[kind])
        if (covering := _covering(at, self._of[kind])) is not None:
            seen.named.add(covering)
            seen.keys[key] = None
            if not is_listed and kind not in self._terms.from_stage:
                seen.unlisted[f"{key!r} is {os.path.relpath(at)}"] = None
        elif below and is_above and kind == "outs":
            seen.named.update(below)
            seen.keys[key] = None
        elif at != str(self._start):
            seen.below.update(dict.fromkeys(below, key))

    def _note_listed(self, kind: Kind, path: PathSlot) -> None:
        at = self._comparable(path.value)
        own = [*self._of[kind], *(self._workspaces if kind == "outs" else self._of["outs"])]
        if _covering(at, own) is None and not (kind == "outs" and _below(at, self._of[kind])):
            self._seen[kind].foreign[f"{path.key!r} ({os.path.relpath(path.value)})"] = None

    def _shown(self, kind: Kind) -> str:
        keys = ", ".join(self._seen[kind].keys) or "none"
        unnamed = self._unnamed(kind) if kind == "deps" else []
        return (
            f"{keys} (no key names {', '.join(unnamed)}: jobs have them as code, if at all)"
            if unnamed
            else keys
        )

    def _unnamed(self, kind: Kind) -> list[str]:
        """The stage's paths that no key names, where the stage's are to travel."""
        if kind not in self._terms.from_stage:
            return []
        seen = self._seen[kind]
        left = [
            path for path in self._of[kind] if path not in seen.named and not self._in_workspaces(kind, path)
        ]
        near = {path: f" (it is below {key!r})" for path, key in seen.below.items()}
        return [f"{os.path.relpath(path)}{near.get(path, '')}" for path in left]

    def _in_workspaces(self, kind: Kind, path: str) -> bool:
        """Whether it is a job's own directory, is inside of one, or holds them."""
        return kind == "outs" and any(
            _covering(path, [own]) or _covering(own, [path]) for own in self._workspaces
        )

    def _differences(self, kind: Kind) -> list[str]:
        listed = self._terms.deps if kind == "deps" else self._terms.outs
        if not listed or kind in self._terms.from_stage:
            return []
        seen = self._seen[kind]
        said = [f"{kind} has {each}, which is none of the stage's" for each in seen.foreign]
        return said + [f"{each}, one of the stage's {kind}, and not in the list" for each in seen.unlisted]


def _stage(terms: Terms, start: Path) -> Stage | None:
    if terms.from_stage:
        return running.stage_of(_program(start))
    if not (terms.deps or terms.outs):
        return None
    try:
        return running.told(str(start))
    except InputError as exc:  # the lists serve without it
        log.debug("%s", exc)
        return None


def _program(start: Path) -> running.Program:
    script = driver.main_script()
    return running.Program(
        str(start), str(script) if script else None, driver.module_name(), tuple(sys.argv[1:])
    )


def _covering(at: str, paths: Sequence[str]) -> str | None:
    """Which of the paths it is, or is inside of."""
    above = {at, *parents(at)}
    return next((path for path in paths if path in above), None)


def _below(at: str, paths: Sequence[str]) -> list[str]:
    """Which of the paths are inside of it."""
    return [path for path in paths if path.startswith(f"{at}{os.sep}")]
