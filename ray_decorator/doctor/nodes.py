"""What each node of a cluster says of itself: asked by a task without CPUs that travels by value.

Imports ray, and on a node anything of ours, inside functions only: see entry.py.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from ..cluster.ray_cluster import living_nodes
from ..core.model import Location, Requirements
from ..node import entry
from ..node.entry import is_home, make_importable, node_name
from ..node.own_source import zipped_source

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A living node. With ``error``, nothing more than its name and resources is known.

    ``home``: jobs run in place there, on the driver's own machine and interpreter. ``lacking``: the driver's
    distributions that are not there in the same version -> what is there (None: nothing). ``missing``: of
    what this project needs itself, what is not there -> what it is for. ``standing``: how many packages the
    environment holds that jobs would use, where it stands already, else 0. ``uv`` is its path.
    ``unreachable``: why the store's endpoint, or its directory, is not in sight from there. ``provider``:
    where boto3 found credentials of the node's own; ``hints`` say what points to some, where boto3 is not
    there to ask.
    """

    name: str
    resources: Mapping[str, float]
    error: str | None = None
    home: bool = False
    python: tuple[int, ...] = ()
    ray: str = ""
    executable: str = ""
    platform: str = ""
    lacking: Mapping[str, str | None] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    standing: int = 0
    uv: str | None = None
    unreachable: str | None = None
    boto3: bool = False
    provider: str | None = None
    hints: tuple[str, ...] = ()


def ask_nodes(
    requirements: Requirements | None, store: Location | None, places: Sequence[str]
) -> list[NodeFacts]:
    """Ask every living node of the connected cluster, all at once; one that is silent for 30 s has an error.

    ``places`` are the local directories that a job must see to run in place.
    """
    import ray

    asked = {
        _ask(node, request): node for request in [_request(requirements, store, places)] for node in _nodes()
    }
    done, silent = ray.wait(list(asked), num_returns=len(asked), timeout=_SECONDS)
    answered = set(done)
    for reference in silent:
        ray.cancel(reference, force=True)
    return [
        _facts(node, reference) if reference in answered else _silent(node)
        for reference, node in asked.items()
    ]


def _request(
    requirements: Requirements | None, store: Location | None, places: Sequence[str]
) -> dict[str, Any]:
    # the indexes may hold passwords, and are no part of the question
    asked = replace(requirements, indexes={}) if requirements else None
    return {
        "home": entry.home(places),
        "runtime": zipped_source(),
        "requirements": pickle.dumps(asked),
        "store": _whereabouts(store),
        "own_credentials": bool(store and store.own_credentials),
    }


def _whereabouts(store: Location | None) -> tuple[str, int] | str | None:
    """What of the store a node must reach: host and port, or a directory."""
    if store is None:
        return None
    if store.url.startswith("file://"):
        return store.url.removeprefix("file://")
    url = urlsplit(store.endpoint or f"https://s3.{store.region or 'us-east-1'}.amazonaws.com")
    return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)


def _nodes() -> list[Mapping[str, Any]]:
    return sorted(living_nodes(), key=_name)


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['NodeManagerHostname']}/{node['NodeID'][:6]}"


def _ask(node: Mapping[str, Any], request: Mapping[str, Any]) -> Any:
    import ray
    import ray.cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    entry.travel_by_value()
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    task = ray.remote(num_cpus=0, max_retries=0)(look)
    return task.options(name="ray-s3 doctor", scheduling_strategy=there).remote(request)


def _facts(node: Mapping[str, Any], reference: Any) -> NodeFacts:
    import ray

    try:
        return NodeFacts(resources=node["Resources"], **ray.get(reference))
    except ray.exceptions.RayError as exc:
        said = str(exc).strip().splitlines() or [type(exc).__name__]
        return NodeFacts(_name(node), node["Resources"], f"the question failed there: {said[-1]}")


def _silent(node: Mapping[str, Any]) -> NodeFacts:
    return NodeFacts(_name(node), node["Resources"], f"did not answer within {_SECONDS:.0f} s")


def look(request: Mapping[str, Any]) -> dict[str, Any]:
    """On the node, in the cluster's own Python: NodeFacts as plain data."""
    import pickle
    from pathlib import Path

    import ray

    home = is_home(request["home"])
    make_importable(request["home"], request["runtime"], home)
    from ray_decorator.core.directories import node_root
    from ray_decorator.environment import build, inventory

    found = inventory.survey()
    there = found["distributions"]
    requirements = pickle.loads(request["requirements"])
    lacking = inventory.lacking(requirements) if requirements else {}
    return {
        "name": node_name(),
        "home": home,
        "python": found["python"],
        "ray": ray.__version__,
        "executable": found["executable"],
        "platform": found["platform"],
        "lacking": {name: there.get(name) for name in lacking},
        "missing": inventory.absent(own_credentials=request["own_credentials"]),
        "standing": build.prebuilt_packages(requirements, Path(node_root())) if lacking else 0,
        "uv": found["uv"],
        "unreachable": _unreachable(request["store"]),
        **(_own_credentials() if request["own_credentials"] else {}),
    }


def _unreachable(store: tuple[str, int] | str | None) -> str | None:
    import os

    from ray_decorator.core.network import connect_error

    if isinstance(store, str):
        return None if os.path.isdir(store) else f"there is no directory {store}"
    if store is None or any(name in os.environ for name in ("https_proxy", "HTTPS_PROXY", "http_proxy")):
        return None
    error = connect_error(*store, 3)
    return None if error is None else f"{store[0]}:{store[1]} does not answer ({error})"


def _own_credentials() -> dict[str, Any]:
    import os

    try:
        import botocore.session
    except ImportError:
        names = sorted(name for name in os.environ if name.startswith("AWS_"))
        files = [f"~/.aws/{name}" for name in ("config", "credentials")]
        return {"hints": (*names, *(path for path in files if os.path.exists(os.path.expanduser(path))))}
    try:
        found = botocore.session.get_session().get_credentials()
    except Exception as exc:  # also what a credential process raises: that there are none is the answer
        return {"boto3": True, "hints": (f"{type(exc).__name__}",)}
    return {"boto3": True, "provider": found.method if found else None}
