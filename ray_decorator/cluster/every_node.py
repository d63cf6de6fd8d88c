"""A question to every living node of the connected cluster, all of them at once, each with its own answer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import text_of
from ..node import entry


@dataclass(frozen=True, slots=True)
class Answer:
    """``node`` is as ``ray.nodes()`` describes it; ``value`` is its answer, unless ``error`` says why not."""

    node: Mapping[str, Any]
    value: Any = None
    error: str | None = None

    @property
    def name(self) -> str:
        """What the user sees of the node: as `node.entry.node_name`."""
        return f"{self.node['NodeManagerHostname']}/{self.node['NodeID'][:6]}"


def living_nodes() -> list[Mapping[str, Any]]:
    """The living nodes of the connected Ray, as ``ray.nodes()`` describes them."""
    import ray

    nodes: list[Mapping[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def ask_every_node(question: Callable[..., Any], *arguments: Any, name: str, seconds: float) -> list[Answer]:
    """``question(*arguments)`` on every living node, without a CPU; the answers in the order of nodes' names.

    The question's module travels by value, so it may import nothing of ours but in functions (node.entry is
    there). ``name`` is what Ray shows. A node that is silent for so many seconds has an error.
    """
    return ask_nodes(living_nodes(), question, *arguments, name=name, seconds=seconds)


def ask_nodes(
    nodes: Sequence[Mapping[str, Any]],
    question: Callable[..., Any],
    *arguments: Any,
    name: str,
    seconds: float,
) -> list[Answer]:
    """As `ask_every_node`, of these nodes only."""
    import ray
    import ray.cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    entry.travel_by_value()
    ray.cloudpickle.register_pickle_by_value(sys.modules[question.__module__])  # type: ignore[no-untyped-call]
    task = ray.remote(num_cpus=0, max_retries=0)(question)
    asked: dict[Any, Mapping[str, Any]] = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked[task.options(name=name, scheduling_strategy=there).remote(*arguments)] = node
    done, silent = ray.wait(list(asked), num_returns=len(asked), timeout=seconds)
    for reference in silent:
        ray.cancel(reference, force=True)
    late = f"did not answer within {seconds:.0f} s"
    answers = [_answer(asked[reference], reference) for reference in done]
    answers += [Answer(asked[reference], error=late) for reference in silent]
    return sorted(answers, key=lambda answer: answer.name)


def _answer(node: Mapping[str, Any], reference: Any) -> Answer:
    import ray

    try:
        return Answer(node, ray.get(reference))
    except ray.exceptions.RayError as exc:
        said = text_of(exc).strip().splitlines() or [type(exc).__name__]
        return Answer(node, error=f"the question failed there: {said[-1]}")
