"""What each node of a cluster says of itself: asked by a task without CPUs that travels by value.

Imports anything of ours on a node inside functions only: see entry.py.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from ..cluster.every_node import Answer, ask_every_node
from ..core.values.bundles import Requirements
from ..core.values.stores import Location
from ..node import entry
from ..node.entry import is_home, make_importable, node_name, refusal
from ..node.own_source import zipped_source

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A living node. With ``error``, nothing more than its name and resources is known.

    ``home``: jobs run in place there, on the driver's own machine and interpreter. ``lacking``: the driver's
    distributions that are not there in the same version -> what is there (None: nothing). ``missing``: of
    what this project needs itself, what is not there -> what it is for. ``prebuilt``: how many packages the
    environment that jobs would use holds, where it is there already, else 0. ``uv`` is its path.
    ``unreachable``: why the store's endpoint, or its directory, cannot be reached from there. ``provider``:
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
    prebuilt: int = 0
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
    request = _request(requirements, store, places)
    return [
        _facts(answer) for answer in ask_every_node(look, request, name="ray-s3 doctor", seconds=_SECONDS)
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


def _facts(answer: Answer) -> NodeFacts:
    resources = answer.node["Resources"]
    if answer.error is not None:
        return NodeFacts(answer.name, resources, answer.error)
    return NodeFacts(resources=resources, **answer.value)


def look(request: Mapping[str, Any]) -> dict[str, Any]:
    """On the node, in the cluster's own Python: NodeFacts as plain data."""
    import pickle
    import sys

    if (problem := refusal()) is not None:
        return {"name": node_name(), "error": problem}
    home = is_home(request["home"])
    make_importable(request["home"], request["runtime"], home)
    from ray_decorator.core.machine.directories import node_directory
    from ray_decorator.environment import build, inventory

    found = inventory.survey()
    there = found["distributions"]
    requirements = pickle.loads(request["requirements"])
    lacking = inventory.lacking(requirements) if requirements else {}
    return {
        "name": node_name(),
        "home": home,
        "python": found["python"],
        "ray": sys.modules["ray"].__version__,
        "executable": found["executable"],
        "platform": found["platform"],
        "lacking": {name: there.get(name) for name in lacking},
        "missing": inventory.absent(own_credentials=request["own_credentials"]),
        "prebuilt": build.prebuilt_packages(requirements, node_directory("envs").parent) if lacking else 0,
        "uv": found["uv"],
        "unreachable": _unreachable(request["store"]),
        **(_own_credentials() if request["own_credentials"] else {}),
    }


def _unreachable(store: tuple[str, int] | str | None) -> str | None:
    import os

    from ray_decorator.core.machine.network import connect_error

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
