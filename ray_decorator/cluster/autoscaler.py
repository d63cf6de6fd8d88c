"""What nodes a cluster's autoscaler could add, asked of the cluster itself.

Ray has no public way to ask. Some autoscalers report their node types to the GCS; the one of `ray up` keeps
them in the file that its process on the head was given, and leaves only a status in the GCS. Each is looked
for on the head, by a task that takes no CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

_LOOK_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class NodeType:
    """A kind of node that an autoscaler can add; None for what is not known of it."""

    name: str
    resources: Mapping[str, float] | None
    labels: Mapping[str, str] | None


def node_types() -> tuple[NodeType, ...]:
    """The kinds of node that the autoscaler of the connected cluster can add.

    Empty where there is no autoscaler, and where the cluster's Ray does not let itself be asked.
    """
    import ray

    if not ray.is_initialized():
        return ()
    look = ray.remote(num_cpus=0, max_retries=0, resources={"node:__internal_head__": 0.001})(_looker())
    reference = look.options(name="node types").remote()
    try:
        found: list[tuple[str, Any, Any]] = ray.get(reference, timeout=_LOOK_SECONDS)
    except (ray.exceptions.RayError, TimeoutError) as exc:
        log.debug("Could not ask for an autoscaler's node types: %s", exc)
        return ()
    return tuple(NodeType(name, resources, labels) for name, resources, labels in found)


def _looker() -> Callable[[], list[tuple[str, Any, Any]]]:
    """The task's function. It travels by value, for the cluster need not have this package."""

    def look() -> list[tuple[str, Any, Any]]:
        import json

        import ray

        def reported() -> list[tuple[str, Any, Any]]:
            from ray._private.state import state

            config = state.get_cluster_config()
            groups = config.node_group_configs if config is not None else ()
            return [(group.name, dict(group.resources), None) for group in groups if group.max_count]

        def started_with() -> list[tuple[str, Any, Any]]:
            import glob

            import yaml

            port = ray.get_runtime_context().gcs_address.rpartition(":")[2]
            for path in glob.glob("/proc/[0-9]*/cmdline"):
                try:
                    with open(path, "rb") as file:
                        command = [part.decode(errors="replace") for part in file.read().split(b"\0")]
                except OSError:  # it has ended meanwhile
                    continue
                options = dict(
                    part.split("=", 1) for part in command if part.startswith("--") and "=" in part
                )
                named, gcs = options.get("--autoscaling-config"), options.get("--gcs-address", "")
                if (
                    not named
                    or not any("monitor" in part for part in command)
                    or not gcs.endswith(f":{port}")
                ):
                    continue
                with open(named) as file:
                    config = yaml.safe_load(file)
                return [
                    (name, kind.get("resources") or None, kind.get("labels") or {})
                    for name, kind in config["available_node_types"].items()
                    if name != config["head_node_type"] and kind.get("max_workers", 1)
                ]
            return []

        def seen() -> list[tuple[str, Any, Any]]:
            from ray.experimental.internal_kv import _internal_kv_get

            status = json.loads(_internal_kv_get("__autoscaling_status") or "{}")
            kinds = (status.get("autoscaler_report") or {}).get("node_type_mapping") or {}
            # without an autoscaler, Ray invents a type for each node
            return [("", None, None)] if any(not kind.startswith("node_") for kind in kinds.values()) else []

        for ask in (reported, started_with, seen):
            try:
                found = ask()
            except Exception:  # private functions and formats, which another Ray may not have
                continue
            if found:
                return found
        return []

    return look
