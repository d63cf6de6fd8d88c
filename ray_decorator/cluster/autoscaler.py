"""What nodes a cluster's autoscaler could add, asked of the cluster itself by a task that takes no CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import ray_api

_LOOK_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class NodeType:
    """A kind of node that an autoscaler can add; None for what is not known of it."""

    name: str
    resources: Mapping[str, float] | None
    labels: Mapping[str, str] | None


def node_types() -> tuple[NodeType, ...]:
    """The kinds of node that the autoscaler of the connected cluster can add; empty where there is none.

    Where the cluster does not let itself be asked, a warning says so, and the answer is one kind of which
    nothing is known.
    """
    import ray

    if not ray.is_initialized():
        return ()
    look = ray.remote(num_cpus=0, max_retries=0, resources=dict(ray_api.ON_HEAD))(
        ray_api.node_types_on_head()
    )
    reference = look.options(name="node types").remote()
    try:
        found, problems = ray.get(reference, timeout=_LOOK_SECONDS)
    except (ray.exceptions.RayError, TimeoutError) as exc:
        found, problems = [], [f"{type(exc).__name__}: {exc}"]
        ray.cancel(reference, force=True)
    if problems:
        ray_api.cannot_tell_node_types("; ".join(problems))
        return (NodeType("", None, None),)
    return tuple(NodeType(name, resources, labels) for name, resources, labels in found)
