"""Which of the driver's packages jobs need: all, but for what only DVC needs where the project does not ask for DVC.

    packages: auto                the project's metadata decides: `asked_for`
    packages: {only: […]}         these, and what they require
    packages: {exclude: […]}      all but these, and but what they alone require

What is no index's (editable, local, from a VCS) is code, and not of this choice.

DVC runs at home: it starts the program, and commits what came of it. Its packages are most of those of a small app.
"""

from __future__ import annotations

import logging
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from ..core.errors import InputError
from ..core.values.bundles import Requirements
from . import graph
from .graph import Wanted
from .installed import Installed, requirements

_log = logging.getLogger(__name__)

_OURS = "ray-decorator"
_DVCS = "only DVC needs it, and pyproject.toml does not ask for DVC"


@dataclass(frozen=True, slots=True)
class Needed:
    """What jobs are given, and the names of what stays here; ``why`` is for messages, empty where nothing does."""

    requirements: Requirements
    left_out: frozenset[str] = frozenset()
    why: str = ""


def needed(
    found: Installed,
    project: Path | None,
    only: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
) -> Needed:
    """Choose from what is installed. ``project`` is the directory of the user's pyproject.toml or uv.lock.

    ``only`` and ``exclude`` are names of distributions; with one of them, the project is not asked. Raises InputError
    where ``only`` names one that is not installed.
    """
    if only is None and exclude is None:
        return _made(found, _but_dvcs(found, project), project, _DVCS)
    kept = set(found.pins)
    if only is not None:
        if absent := [name for name in only if canonicalize_name(name) not in found.requires]:
            raise InputError(
                f"packages.only names {', '.join(absent)}, which is not installed here: install it, or correct "
                "the name"
            )
        kept &= graph.reached(_all_of(only, found), found.requires) | _for_us(found)
    if exclude is not None:
        unwanted = {canonicalize_name(name) for name in exclude}
        if absent := sorted(unwanted - found.requires.keys()):
            _log.warning("packages.exclude names %s, which is not installed here", ", ".join(absent))
        kept -= _only_for(unwanted, _all_of(only, found) if only is not None else _roots(found), found)
    return _made(found, kept, project, "packages says so")


def _but_dvcs(found: Installed, project: Path | None) -> set[str]:
    """All, but for what only DVC needs where the project tells that the app needs no DVC."""
    everything, family = set(found.pins), {name for name in found.requires if _is_dvcs(name)}
    asked = asked_for(project) if family and project is not None else None
    if asked is None or "dvc" in sys.modules:  # which the app has imported
        return everything
    wanted = [*asked, *(root for root in _roots(found) if root[0] not in family)]
    if family & graph.reached(wanted, found.requires):
        return everything
    return everything - _only_for(family, wanted, found)


def asked_for(project: Path) -> list[Wanted] | None:
    """What the project's pyproject.toml says that the app needs; None where it does not say.

    These are its dependencies, and what its groups and extras name beside DVC: it is not known what that is for. The
    tables are PEP 621's, PEP 735's, uv's and Poetry's.

    uv.lock is not read for it: which groups and extras there are, and what a package requires here, pyproject.toml
    and installed metadata say as well. What a job is given is what `uv export` lists without the group of DVC.
    """
    try:
        data = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    own, tool = data.get("project", {}), data.get("tool", {})
    poetry = tool.get("poetry", {})
    app = [*_lines(own.get("dependencies")), *_lines(poetry.get("dependencies"))]
    others = [
        *(line for extra in own.get("optional-dependencies", {}).values() for line in _lines(extra)),
        *(line for group in data.get("dependency-groups", {}).values() for line in _lines(group)),
        *_lines(tool.get("uv", {}).get("dev-dependencies")),
        *_lines(poetry.get("dev-dependencies")),
        *(line for group in poetry.get("group", {}).values() for line in _lines(group.get("dependencies"))),
    ]
    dvcs = [wanted for wanted in graph.required(others) if _is_dvcs(wanted[0])]
    if not app and not dvcs:
        return None
    return [*graph.required(app), *(wanted for wanted in graph.required(others) if wanted not in dvcs)]


def _lines(listed: Any) -> Iterator[str]:
    """Requirements as texts: of a list, in which a group may include another one, or of Poetry's table."""
    for each in listed or ():
        options = listed[each] if isinstance(listed, Mapping) else None
        if isinstance(options, Mapping) and options.get("extras"):
            each = f"{each}[{','.join(options['extras'])}]"
        if isinstance(each, str) and each != "python":
            yield each


def _is_dvcs(name: str) -> bool:
    return name == "dvc" or name.startswith("dvc-")


def _roots(found: Installed) -> list[Wanted]:
    """What somebody has asked for, it seems, but for us. It is not known with which extras: with all, then."""
    ours = _for_us(found)
    local = [(each.name, frozenset[str]()) for each in found.local]
    return [*_all_of((root for root in found.roots if root not in ours), found), *local]


def _all_of(names: Iterable[str], found: Installed) -> list[Wanted]:
    return [(name, frozenset(found.extras.get(name, ()))) for name in map(canonicalize_name, names)]


def _for_us(found: Installed) -> set[str]:
    """What this package needs itself: jobs have its source in any case."""
    return graph.reached([(_OURS, frozenset())], found.requires)


def _only_for(unwanted: Set[str], wanted: Iterable[Wanted], found: Installed) -> set[str]:
    """The unwanted, and what they alone require."""
    requires = {name: lines for name, lines in found.requires.items() if name not in unwanted}
    starts = [each for each in wanted if each[0] not in unwanted]
    kept = graph.reached(starts, requires) - unwanted | _for_us(found)
    return graph.reached(((name, frozenset()) for name in unwanted), found.requires) - kept


def _made(found: Installed, kept: Set[str], project: Path | None, why: str) -> Needed:
    if kept >= found.pins.keys():
        return Needed(requirements(project, found))
    pins = {name: pin for name, pin in found.pins.items() if name in kept}
    roots = graph.roots({name: found.requires[name] for name in pins})
    left_out = frozenset(found.pins.keys() - pins.keys())
    chosen = requirements(project, replace(found, pins=pins, roots=roots))
    return Needed(chosen, left_out, why if left_out else "")
