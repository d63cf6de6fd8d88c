"""The doctor's look at packages: what the nodes have of the driver's, and what would be built there."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from ..core.values.bundles import Requirements
from ..environment import inventory
from ..environment.needed import Needed
from .findings import Finding, Status, worst
from .nodes import NodeFacts

_SHOWN = 10
_MOST_NAMES = 5


def check(needed: Needed | None, nodes: Sequence[NodeFacts]) -> Finding:
    """Compare each node that answered; equal ones are shown once. ``needed`` None: packages: none."""
    requirements = needed.requirements if needed else None
    found = [_check(requirements, group) for group in _groups(node for node in nodes if not node.error)] or [
        ("warning", ["no node has answered"], None)
    ]
    facts = [f"{len(requirements.pins)} packages on the driver"] if requirements else []
    if needed is not None and needed.left_out:
        names = sorted(needed.left_out)
        facts[0] += f" for jobs, and {len(names)} that stay here ({needed.why}): {_some(names)}"
    if requirements is None:
        facts.append("the nodes' packages are left as they are (packages: none)")
    cures = dict.fromkeys(cure for _, _, cure in found if cure)
    return Finding(
        "packages",
        worst(*(status for status, _, _ in found)),
        (*facts, *(line for _, lines, _ in found for line in lines)),
        "\n".join(cures) or None,
    )


def _groups(nodes: Iterable[NodeFacts]) -> list[list[NodeFacts]]:
    groups: dict[object, list[NodeFacts]] = {}
    for node in nodes:
        same = (node.home, node.python[:2], node.executable, node.platform, node.uv, tuple(node.missing))
        groups.setdefault((same, tuple(sorted(node.lacking.items()))), []).append(node)
    return list(groups.values())


def _check(
    requirements: Requirements | None, group: Sequence[NodeFacts]
) -> tuple[Status, list[str], str | None]:
    node, names = group[0], _names(group)
    if node.home:
        return "ok", [f"{names}: runs in place, in this very Python"], None
    if node.python[:2] != sys.version_info[:2]:
        return _other_python(node, names)
    if requirements is None:
        return _left_alone(node, names)
    if not node.lacking:
        return "ok", [f"{names}: same, nothing is built"], None
    lines = [f"{names}: {len(node.lacking)} differ:", *_differing(requirements, node)]
    if node.platform != requirements.platform:
        lines.append(f"  the driver's platform is {requirements.platform}, the node's {node.platform}")
    status, more, cure = _environment(group)
    return status, lines + more, cure


def _environment(group: Sequence[NodeFacts]) -> tuple[Status, list[str], str | None]:
    """What is built already, and what is still to be built; the nodes are equal but for that."""
    uv, executable = group[0].uv, group[0].executable
    built, others = [n for n in group if n.prebuilt], [n for n in group if not n.prebuilt]
    lines = []
    if built:
        where = f"on {_names(built)}" if others else "there"
        lines.append(f"  an environment with {built[0].prebuilt} packages is {where} already")
    if not others:
        return "ok", lines, None
    where = f"on {_names(others)}" if built else "there"
    if uv is None:
        lines.append(f"  no uv is {where} to install them with")
        return "wrong", lines, "pip install uv in the cluster's own environment, or set packages=none"
    lines.append(
        f"  would be built {where}, once a node, by {uv}: an environment with these, laid over "
        f"{executable}, which stays as it is"
    )
    return "ok", lines, None


def _other_python(node: NodeFacts, names: str) -> tuple[Status, list[str], str]:
    here, there = (".".join(map(str, v[:2])) for v in (sys.version_info, node.python))
    facts = [
        f"{names}: Python {there} ({node.executable}), the driver's is {here}: nothing travels between them"
    ]
    return "wrong", facts, f"start the driver with Python {there}, or the cluster with Python {here}"


def _left_alone(node: NodeFacts, names: str) -> tuple[Status, list[str], str | None]:
    if not node.missing:
        return "ok", [f"{names}: all that jobs need to run at all is there"], None
    facts = [f"{names}: lacks what this project itself needs there: {inventory.listed(node.missing)}"]
    # where one of these two kinds of job cannot run, the other can
    some = set(node.missing.values()) < {inventory.HYDRA_JOBS, inventory.DECORATED}
    needed = " ".join(node.missing)
    cure = f"pip install {needed} in the cluster's own environment, or set packages=auto"
    return "warning" if some else "wrong", facts, cure


def _differing(requirements: Requirements, node: NodeFacts) -> list[str]:
    rows = sorted(node.lacking.items())
    lines = [
        f"  {name}: here {_version(requirements.pins[name])}, there {there or 'absent'}"
        for name, there in rows[:_SHOWN]
    ]
    return [*lines, f"  … and {len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else lines


def _version(pin: str) -> str:
    return "from a URL" if pin.startswith("@") else pin  # which may hold a password


def _names(group: Sequence[NodeFacts]) -> str:
    return _some([node.name for node in group])


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")
