"""The protocol that the engine knows: both clusters have all of it, with the same parameters."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from fake_cluster import FakeCluster

from ray_decorator.cluster.cluster import Cluster
from ray_decorator.cluster.ray_cluster import RayCluster

VERBS = [name for name, value in vars(Cluster).items() if inspect.isfunction(value) and name[0] != "_"]


@pytest.mark.parametrize("cluster", [RayCluster, FakeCluster])
def test_each_cluster_has_every_verb(cluster: type[Any]) -> None:
    assert set(VERBS) == {
        "put", "submit", "cancel", "rescue", "prepare", "reaches_out", "capacity", "lend_cpus"
    }  # fmt: skip
    for name in VERBS:
        expected, found = (inspect.signature(getattr(owner, name)) for owner in (Cluster, cluster))
        assert found == expected, name
