"""The doctor's look at Ray and its nodes: what they are, what jobs ask of them, credentials of their own."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version

from ..cluster import capacity
from ..cluster.connecting.connection import Connection
from ..cluster.every_node import living_nodes
from ..cluster.ray_cluster import check_options
from ..core.errors import ClusterError, RayS3Error
from ..core.options.settings import Settings
from ..core.units import human_size
from ..core.values.bundles import Requirements
from ..core.values.stores import Location
from ..project import driver
from .findings import Finding, Status, worst
from .nodes import NodeFacts, ask_nodes

_MOST_NODES = 20


def ray(
    settings: Settings, connection: Connection, requirements: Requirements | None, place: Location | None
) -> tuple[Finding, list[NodeFacts]]:
    """Connect, and ask every node what it is. Raises ClusterError where that fails."""
    connection.wait()
    nodes = ask_nodes(requirements, place, [str(driver.started_at())])
    facts = [f"Ray {version('ray')}, Python {platform.python_version()} on this machine"]
    if settings.ray_address == "local":
        facts.append("a private Ray on this machine, started for this check and stopped after it")
    facts.append(f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}:")
    facts += [f"  {_described(node)}" for node in nodes[:_MOST_NODES]]
    if len(nodes) > _MOST_NODES:
        facts.append(f"  … and {len(nodes) - _MOST_NODES} more")
    status, cure = _trouble_of(nodes)
    return Finding("Ray", status, tuple(facts), cure), nodes


def _trouble_of(nodes: Sequence[NodeFacts]) -> tuple[Status, str | None]:
    cures = []
    if failed := [node.name for node in nodes if node.error]:
        cures.append(
            f"see what `ray status` and the raylet's log say on {', '.join(failed[:3])}; take a node that is "
            "broken out of the cluster with `ray stop` there"
        )
    if blind := [node.name for node in nodes if node.unreachable]:
        cures.append(
            f"let {', '.join(blind[:3])} reach the store: an endpoint that other machines see in "
            "AWS_ENDPOINT_URL, a firewall that lets them through, a directory that all of them share"
        )
    return ("wrong", "\n".join(cures)) if cures else ("ok", None)


def _described(node: NodeFacts) -> str:
    resources = node.resources
    parts = [f"{resources.get('CPU', 0):g} CPU", f"{resources.get('GPU', 0):g} GPU"]
    parts.append(f"{human_size(resources.get('memory', 0))} memory")
    if node.error:
        return f"{node.name}: {', '.join(parts)}; {node.error}"
    version = ".".join(map(str, node.python))
    parts = [f"Python {version}", f"Ray {node.ray}", node.platform, *parts]
    if node.unreachable:
        parts.append(f"does not reach the store: {node.unreachable}")
    return f"{node.name}: {', '.join(parts)}"


def job_resources(settings: Settings) -> tuple[Finding, None]:
    """``ray_remote_kwargs``: whether Ray takes them, and a node can serve them."""
    check_options(settings)
    waiting = capacity.awaited(settings.ray_remote_kwargs, living_nodes())
    asked = capacity.asked(settings.ray_remote_kwargs)
    facts = (f"each job asks for {asked}", waiting or "there is a node that can serve it")
    return Finding("job resources", "warning" if waiting else "ok", facts), None


def credentials(settings: Settings, nodes: Sequence[NodeFacts]) -> Finding:
    """``credentials: worker``: each node has to have its own."""
    bring = "" if settings.packages == "none" else " (jobs bring theirs)"
    found = [(node.name, *_own(node, bring)) for node in nodes if not node.error]
    status = worst(*(status for _, status, _ in found))
    facts = tuple(f"{name}: {said}" for name, _, said in found[:_MOST_NODES])
    cure = "give the nodes an instance role or AWS_* variables, or set credentials=driver"
    return Finding("credentials on nodes", status, facts, None if status == "ok" else cure)


def _own(node: NodeFacts, bring: str) -> tuple[Status, str]:
    if node.provider:
        return "ok", f"boto3 finds some there: {node.provider}"
    if node.boto3:
        return "wrong", f"boto3 finds none there{''.join(f' ({hint})' for hint in node.hints)}"
    if node.hints:
        return "ok", f"boto3 is not there to ask{bring}, but there is {', '.join(node.hints)}"
    return "warning", (
        f"boto3 is not there to ask{bring}; no AWS_* variable and no ~/.aws is there, so only "
        "an instance role can give some"
    )


def cure(error: RayS3Error) -> str | None:
    """A command or setting that fixes the error, beyond what its message says; None where there is none."""
    if isinstance(error, ClusterError) and isinstance(error.__cause__, OSError):
        return "ray start --head there, or set ray_address (RAY_ADDRESS) to where that runs"
    return None
