"""What a test needs, told by the fixtures that it uses, the folder that it is in, and its own markers.

With pytest-xdist, the tests that share something expensive run in one worker, which has it once. All clusters that
are reached through Ray Client are in one of them: two heads of Ray on one machine take the same ports for their
clients at the same moment.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression

_NEEDS = {
    "bed": "cluster",
    "scaling": "cluster",
    "other_versions": "cluster",
    "bare_venv": "cluster",
    "ray_session": "ray",
    "ray_session_address": "ray",
}
"""Fixtures of clusters, the most expensive ones first, and the marker of tests that use them."""

_PROGRAMS = ("moto", "dvc", "faulty_proxy", "issuer", "folding_disk", "long_program")
"""Fixtures of whole programs: moto's server, which is boto3 and a web framework; the real dvc; a server that fails
for seconds; one whose credentials end after seconds, with the program that gives new ones; a disk that rclone serves;
any other that runs for seconds."""

_SHARED = ("ray_session", "bed", "scaling")
"""Fixtures that end when the next test does not use them (`lasting`)."""

_BREAKS = "doomed"
"""The fixture of tests that break what they share: the last ones."""

_FOLDERS = {"apps": "app", "clusters": "cluster"}

needed: dict[Path, set[str]] = {}
"""What the tests of each file need that was collected: markers, and "" where there is a quick one."""


def mark(items: list[pytest.Item]) -> None:
    """Add the markers, and the groups of tests that stay together; those that share a cluster follow one another."""
    items.sort(key=_order)
    for item in items:
        used = [name for name in _NEEDS if name in getattr(item, "fixturenames", ())]
        for name in used:
            item.add_marker(_NEEDS[name])
        folder = _FOLDERS.get(item.path.parent.name)
        if _asked_for(item).intersection(_PROGRAMS):
            item.add_marker("app")
        if folder is not None:
            item.add_marker(folder)
        if item.get_closest_marker("cluster") is not None:
            client = item.get_closest_marker("client") is not None
            item.add_marker(pytest.mark.xdist_group("cluster_client" if client else "cluster"))
        elif used:  # whole programs, sweeps and other calls in the tests' own process have a Ray each
            part = "plugin" if item.path.parent.name == "plugin" else folder
            group = used[0].removesuffix("_address") + (f"_{part}" if part else "")
            item.add_marker(pytest.mark.xdist_group(group))
        elif "dvc" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("dvc"))  # one warm Python for its commands
        elif item.get_closest_marker("app") is not None and hasattr(
            getattr(item, "module", None), "warm_python"
        ):
            item.add_marker(pytest.mark.xdist_group("app"))  # one for these, too
        markers = {name for name in ("ray", "cluster", "app") if item.get_closest_marker(name)}
        needed.setdefault(item.path, set()).update(markers or {""})


def left_out(folder: Path, markexpr: str) -> bool:
    """Whether ``-m`` deselects all tests of a folder, whatever else they need: then they need not be collected."""
    marker = _FOLDERS.get(folder.name)
    if marker is None or not markexpr or not re.fullmatch(r"[\w\s()]+", markexpr):
        return False
    expression = Expression.compile(markexpr)
    names = set(re.findall(r"\w+", markexpr)) - {"and", "or", "not"}
    sets = itertools.chain.from_iterable(itertools.combinations(names, n) for n in range(len(names) + 1))
    return not any(expression.evaluate({marker, *chosen}.__contains__) for chosen in sets)


def _order(item: pytest.Item) -> list[bool]:
    used = getattr(item, "fixturenames", ())
    return [*(name not in used for name in _SHARED), _BREAKS in used]


def _asked_for(item: pytest.Item) -> set[str]:
    """The fixtures that a test uses, and its parameters: ``store`` and others take the name of one."""
    callspec = getattr(item, "callspec", None)
    given = callspec.params.values() if callspec is not None else ()
    return {*getattr(item, "fixturenames", ()), *(value for value in given if isinstance(value, str))}
