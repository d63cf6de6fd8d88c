"""What is ours on the nodes of a cluster: asked, and cleared, by a task without CPUs that travels by value.

Imports anything of ours on a node inside functions only: see entry.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..cluster.every_node import Answer, ask_every_node
from ..job.disk.ours import Ours
from ..node import entry
from ..node.entry import is_home, make_importable, refusal
from ..node.own_source import zipped_source

_SECONDS = 600.0  # a directory of a million files takes a while to count, and to remove


@dataclass(frozen=True, slots=True)
class NodeOurs:
    """What is ours on a node; nothing is known where there is an ``error``."""

    name: str
    found: tuple[Ours, ...] = ()
    error: str | None = None


def survey(*, kept: bool) -> list[NodeOurs]:
    """What is ours on every living node of the connected cluster; nodes that share a directory are one."""
    return _asked("survey", kept)


def clear(*, kept: bool) -> list[NodeOurs]:
    """Clear it there; what there is now."""
    return _asked("clear", kept)


def _asked(verb: str, kept: bool) -> list[NodeOurs]:
    request = {"verb": verb, "kept": kept, "home": entry.home(()), "runtime": zipped_source()}
    return _merged(ask_every_node(_do, request, name="ray-s3 clean", seconds=_SECONDS))


def _merged(answers: Sequence[Answer]) -> list[NodeOurs]:
    nodes: dict[object, NodeOurs] = {}
    for answer in answers:
        if answer.error is not None or "error" in answer.value:
            nodes[answer.name] = NodeOurs(answer.name, error=answer.error or answer.value["error"])
            continue
        place = answer.value["place"]
        if place in nodes:
            nodes[place] = replace(nodes[place], name=f"{nodes[place].name}, {answer.name}")
        else:
            nodes[place] = NodeOurs(answer.name, tuple(Ours(*one) for one in answer.value["found"]))
    return list(nodes.values())


def _do(request: Mapping[str, Any]) -> dict[str, Any]:
    """On the node, in the cluster's own Python; the answer is plain data."""
    import os

    if (problem := refusal()) is not None:
        return {"error": problem}
    make_importable(request["home"], request["runtime"], is_home(request["home"]))
    from ray_decorator.core.machine.directories import node_root
    from ray_decorator.core.machine.this_machine import boot_id
    from ray_decorator.job.disk import ours

    if request["verb"] == "clear":
        ours.clear(kept=request["kept"], driver=False)
    status = os.stat(node_root())
    found = [tuple(one) for one in ours.survey(kept=request["kept"], driver=False)]
    return {"place": (boot_id(), status.st_dev, status.st_ino), "found": found}
