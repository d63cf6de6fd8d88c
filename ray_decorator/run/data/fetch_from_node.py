"""What a job left on a node of a cluster comes to this machine, by way of Ray: the node needs nothing but that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...cluster.connecting.connection import connected
from ...cluster.every_node import ask_nodes, living_nodes
from ...content.temporary import beside, remove
from ...core.errors import ClusterError, InputError
from ...core.options.settings import Settings
from ...node import kept

_SECONDS = 120.0  # for one question; a part of a file is one
_NO_CLUSTER = "no cluster is named: set RAY_ADDRESS, or add ray_address=… to the command"
_PART = 32 * 1024 * 1024


@contextmanager
def fetched(host: str, path: str, where: Path, settings: Settings) -> Iterator[Path]:
    """A copy of what is at ``path`` on the node ``host``, beside ``where``, for as long as the block lasts.

    It stays on the node, too. Raises InputError where no cluster is named, or it is not there; ClusterError; OSError
    of this machine's disk.
    """
    where.parent.mkdir(parents=True, exist_ok=True)
    copy = Path(beside(str(where)))
    try:
        with connected(settings, _NO_CLUSTER):
            _copy(host, path, copy)
        yield copy
    finally:
        remove(str(copy))


def _copy(host: str, path: str, copy: Path) -> None:
    node, rows = _found(host, path)
    if rows != [] and rows[0][0]:
        copy.mkdir()
    for relpath, size, mode in rows:
        if relpath and (os.path.isabs(relpath) or ".." in relpath.split("/")):
            raise InputError(
                f"node {host} names a file {relpath!r}, which is outside of {path}: nothing was brought"
            )
        place = copy / relpath if relpath else copy
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(place, "xb") as file:
            for offset in range(0, size, _PART):
                file.write(_asked(node, kept.read, path, relpath, offset, min(_PART, size - offset)))
        if os.path.getsize(place) != size:
            raise ClusterError(f"{path}/{relpath} changed on node {host} while it was read: run again")
        place.chmod(mode & 0o777)


def _found(host: str, path: str) -> tuple[Mapping[str, Any], list[tuple[str, int, int]]]:
    """The node of that name that has the path, and its files."""
    nodes = [node for node in living_nodes() if node["NodeManagerHostname"] == host]
    if not nodes:
        names = ", ".join(sorted({node["NodeManagerHostname"] for node in living_nodes()}))
        raise InputError(
            f"the cluster has no node {host!r} now; it has {names}. What was kept there went with it"
        )
    for node in nodes:  # several may have one name
        if (rows := _asked(node, kept.listed, path)) is not None:
            return node, rows
    raise InputError(
        f"node {host} has nothing at {path}, or it is not in the directory where jobs leave things"
    )


def _asked(node: Mapping[str, Any], question: Callable[..., Any], *arguments: Any) -> Any:
    [answer] = ask_nodes([node], question, *arguments, name="ray-s3 fetch", seconds=_SECONDS)
    if answer.error is not None:
        raise ClusterError(f"node {answer.name}: {answer.error}")
    return answer.value
