"""What a job asks of a cluster, and whether that can ever serve it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..core.errors import ClusterError
from .autoscaler import NodeType, node_types

log = logging.getLogger(__name__)

_UNLISTED = ("memory", "object_store_memory")  # every node has some, though its type need not say how much
_UNBOUNDED = 1000  # jobs that ask for nothing, on one node
_said: set[str] = set()


def asked(options: Mapping[str, Any]) -> str:
    """The resources that a job with these options of ``ray.remote`` asks for, such as ``CPU=1, GPU=2``."""
    return _shown(_resources(options)) or "no resources"


def check_feasible(options: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> None:
    """See that a node can serve a job with these options of ``ray.remote``.

    Where it has to wait for one, a warning says so once. Otherwise as `awaited`.
    """
    waiting = awaited(options, nodes)
    if waiting and waiting not in _said:
        _said.add(waiting)
        log.warning(waiting)


def awaited(options: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> str | None:
    """What jobs with these options of ``ray.remote`` wait for, as a sentence; None where a node serves them.

    ``nodes`` are the living ones, as ``ray.nodes()`` describes them. Raises ClusterError where neither one
    of them nor one that an autoscaler can add will ever serve them.
    """
    wanted, (labels, *others) = _resources(options), _selectors(options)
    for one in (labels, *others):
        if not nodes or any(_fits(wanted, node["Resources"]) and _labelled(one, node) for node in nodes):
            return None
    offered = node_types()
    fitting = [kind for kind in offered if any(_could_serve(kind, wanted, one) for one in (labels, *others))]
    if not fitting:
        raise ClusterError(_never(wanted, labels, nodes, offered))
    return _waiting(wanted, labels, nodes, fitting)


def slots_of(options: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> int:
    """How many jobs with these options of ``ray.remote`` the nodes run at once."""
    wanted = _resources(options)
    if not wanted:
        return _UNBOUNDED * len(nodes)
    return sum(
        int(min(node["Resources"].get(name, 0) / amount for name, amount in wanted.items())) for node in nodes
    )


def _waiting(
    wanted: Mapping[str, float],
    labels: Mapping[str, str],
    nodes: Sequence[Mapping[str, Any]],
    kinds: Iterable[NodeType],
) -> str:
    asked = _shown(_lacking(wanted, nodes) or wanted) if wanted else ""
    if labels and not any(_labelled(labels, node) for node in nodes):
        asked = f"the labels {labels}"
    names = ", ".join(sorted(kind.name for kind in kinds if kind.name))
    of_type = f" (node type {names})" if names else ", if it has a type of node for that"
    return f"No node has {asked} yet: jobs wait for the autoscaler to add one{of_type}."


def _never(
    wanted: Mapping[str, float],
    labels: Mapping[str, str],
    nodes: Sequence[Mapping[str, Any]],
    offered: Sequence[NodeType],
) -> str:
    scaling = f", nor can the autoscaler add one ({_offers(offered)})" if offered else ""
    if labels and not any(_labelled(labels, node) for node in nodes):
        return (
            f"No node can ever serve a job: none has the labels {labels} of ray_remote_kwargs."
            f"label_selector{scaling}. Correct them, or start a node that has them."
        )
    shown = _lacking(wanted, nodes) or wanted
    most = {k: max(n["Resources"].get(k, 0) for n in nodes) for k in shown}
    return (
        f"No node can ever serve {_shown(shown)} for a job: the most that one node has is "
        f"{_shown(most)}{scaling}. Ask for less in ray_remote_kwargs, or start a node that has it."
    )


def _lacking(wanted: Mapping[str, float], nodes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What no single node has enough of."""
    return {k: v for k, v in wanted.items() if all(n["Resources"].get(k, 0) < v for n in nodes)}


def _could_serve(kind: NodeType, wanted: Mapping[str, float], labels: Mapping[str, str]) -> bool:
    if kind.labels is not None and not _labelled(labels, {"Labels": kind.labels}):
        return False
    return kind.resources is None or _fits(
        wanted, dict.fromkeys(_UNLISTED, float("inf")) | {**kind.resources}
    )


def _offers(kinds: Iterable[NodeType]) -> str:
    return "; ".join(f"{kind.name}: {_shown(dict(sorted((kind.resources or {}).items())))}" for kind in kinds)


def _resources(options: Mapping[str, Any]) -> dict[str, float]:
    """The resources that a job asks for, under the names of ``ray.nodes()``; one CPU unless told."""
    named = {
        "CPU": options.get("num_cpus", 1),
        "GPU": options.get("num_gpus"),
        "memory": options.get("memory"),
    }
    if accelerator := options.get("accelerator_type"):
        named[f"accelerator_type:{accelerator}"] = 0.001  # how Ray itself asks for it
    return {k: float(v) for k, v in {**named, **(options.get("resources") or {})}.items() if v}


def _selectors(options: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """The labels that a job's node is to have: those that it would rather have, then each that will do."""
    fallbacks = [one.get("label_selector") for one in options.get("fallback_strategy") or ()]
    return [each or {} for each in (options.get("label_selector"), *fallbacks)]


def _labelled(labels: Mapping[str, str], node: Mapping[str, Any]) -> bool:
    """Whether a node has the labels; `in(…)`, `!…` and the like are left for Ray to judge."""
    plain = {key: value for key, value in labels.items() if not value.startswith(("!", "in("))}
    return all(node.get("Labels", {}).get(key) == value for key, value in plain.items())


def _fits(wanted: Mapping[str, float], held: Mapping[str, float]) -> bool:
    return all(held.get(name, 0) >= amount for name, amount in wanted.items())


def _shown(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={amount:g}" for name, amount in resources.items())
