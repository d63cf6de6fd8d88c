"""Requests that no node can serve fail at once; where an autoscaler can add a node that does, they wait."""

from __future__ import annotations

import re
from pathlib import Path

import cluster_bed
import pytest
import servers

from ray_decorator.cluster.autoscaler import NodeType
from ray_decorator.cluster.capacity import _could_serve, asked, awaited

_CHECK = """
import json, logging, sys, time
from ray_decorator.cluster.capacity import check_feasible
from ray_decorator.cluster.connecting.connection import Connection
from ray_decorator.core.errors import ClusterError
from ray_decorator.core.options.settings import Options

logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
kwargs = {"log_to_driver": False}
Connection(Options(ray_address=sys.argv[1], s3_base_path="s3://bucket/x", ray_init_kwargs=kwargs).resolve()).wait()
import ray

for request in json.loads(sys.argv[2]):
    since = time.monotonic()
    try:
        check_feasible(request, [node for node in ray.nodes() if node["Alive"]])
        print("feasible", request)
    except ClusterError as exc:
        print(exc)
    assert time.monotonic() - since < 20
if len(sys.argv) > 3:
    # on a busy machine, nodes of Ray's fake cloud come and go until one stays
    ran = ray.remote(max_retries=-1, **json.loads(sys.argv[3]))(lambda: "it ran")
    print(ray.get(ran.remote(), timeout=200))
"""
pytestmark = pytest.mark.client

_DOCTOR = "import sys; from ray_decorator.__main__ import main; sys.exit(main())"


def test_the_doctor_says_what_the_autoscaler_can_add(
    scaling: cluster_bed.Bed, rclone: servers.Server, tmp_path: Path
) -> None:
    cluster = {**scaling.environment(), "RAY_ADDRESS": scaling.address}
    env = {**cluster, **rclone.environment(), "RAY_S3_BASE_PATH": "s3://bucket/doctor"}

    asks = ("doctor", "+ray_remote_kwargs.num_gpus=1", "code=none")
    done = cluster_bed.drive(_DOCTOR, *asks, env=env, cwd=tmp_path)
    assert (done.code, done.err) == (0, ""), done.out + done.err
    assert re.search(r"^ok +Ray\n", done.out, re.M)
    found = re.search(r"^warning +job resources\n((?: .*\n)+)", done.out, re.M)
    assert found and "each job asks for CPU=1, GPU=1" in found[1], done.out
    assert "jobs wait for the autoscaler to add one (node type gpu_worker)." in found[1]


def test_over_ray_client_they_wait_for_a_node_that_comes_later(
    scaling: cluster_bed.Bed, tmp_path: Path
) -> None:
    requests = (
        '[{"num_gpus": 1}, {"num_gpus": 1}, {"num_cpus": 4, "memory": 100000000}, {"num_gpus": 3},'
        ' {"num_cpus": 1, "label_selector": {"zone": "b"}}]'
    )
    done = cluster_bed.drive(
        _CHECK, scaling.client_address, requests, '{"num_gpus": 1}',
        env=scaling.environment(), cwd=tmp_path, seconds=280,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "WARNING No node has CPU=1, GPU=1 yet: jobs wait for the autoscaler to add one "
        "(node type gpu_worker).",
        "feasible {'num_gpus': 1}",
        "feasible {'num_gpus': 1}",
        "WARNING No node has CPU=4 yet: jobs wait for the autoscaler to add one (node type big_worker).",
        "feasible {'num_cpus': 4, 'memory': 100000000}",
        "No node can ever serve CPU=1, GPU=3 for a job: the most that one node has is CPU=0, GPU=0, nor can "
        "the autoscaler add one (gpu_worker: CPU=2, GPU=1; big_worker: CPU=8, lathe=2). Ask for less in "
        "ray_remote_kwargs, or start a node that has it.",
        "No node can ever serve a job: none has the labels {'zone': 'b'} of ray_remote_kwargs."
        "label_selector, nor can the autoscaler add one (gpu_worker: CPU=2, GPU=1; big_worker: CPU=8, "
        "lathe=2). Correct them, or start a node that has them.",
        "it ran",
    ]


_REPORT = """
import ray, sys
from ray.core.generated.autoscaler_pb2 import ClusterConfig, NodeGroupConfig
groups = [NodeGroupConfig(name="reported", resources={"CPU": 2, "TPU": 4}, max_count=3)]
ray._private.worker.global_worker.gcs_client.report_cluster_config(
    ClusterConfig(node_group_configs=groups).SerializeToString()
)
sys.argv[2] = sys.argv.pop()
"""


def test_a_direct_driver_and_an_autoscaler_that_reports_its_types(
    scaling: cluster_bed.Bed, tmp_path: Path
) -> None:
    check = _CHECK.partition("import ray\n")[2].partition("if len")[0]
    before, after = '[{"resources": {"lathe": 2}}]', '[{"resources": {"TPU": 4}}, {"resources": {"TPU": 5}}]'
    code = _CHECK.partition("if len")[0] + _REPORT + check
    done = cluster_bed.drive(
        code, scaling.address, before, after, env=scaling.environment(), cwd=tmp_path
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "lathe=2 yet: jobs wait for the autoscaler to add one (node type big_worker)." in done.out
    assert "TPU=4 yet: jobs wait for the autoscaler to add one (node type reported)." in done.out
    assert "nor can the autoscaler add one (reported: CPU=2, TPU=4)" in done.out


def test_without_an_autoscaler_it_fails_at_once(bed: cluster_bed.Bed, tmp_path: Path) -> None:
    """By way of Ray Client, the doctor says so (doctor/test_checks.py)."""
    requests = '[{"num_gpus": 1}, {"num_cpus": 1}]'
    done = cluster_bed.drive(_CHECK, bed.address, requests, env=bed.environment(), cwd=tmp_path)
    assert done.out.splitlines() == [
        "No node can ever serve GPU=1 for a job: the most that one node has is GPU=0. Ask for less in "
        "ray_remote_kwargs, or start a node that has it.",
        "feasible {'num_cpus': 1}",
    ], done.err


def test_labels_that_a_job_would_rather_have_may_be_missing() -> None:
    node = {"Resources": {"CPU": 1}, "Labels": {"zone": "b"}}
    rather = {"label_selector": {"zone": "a"}}
    assert awaited({**rather, "fallback_strategy": [{"label_selector": {"zone": "b"}}]}, [node]) is None


def test_what_a_job_asks_for() -> None:
    assert asked({}) == "CPU=1"
    assert asked({"num_gpus": 2, "resources": {"lathe": 0.5}, "max_retries": 3}) == "CPU=1, GPU=2, lathe=0.5"
    assert asked({"num_cpus": 0}) == "no resources"


def test_what_is_not_known_of_a_node_type_may_fit() -> None:
    assert _could_serve(NodeType("", None, None), {"GPU": 8}, {"zone": "b"})
    assert _could_serve(NodeType("a", {"CPU": 1}, {"zone": "b"}), {"CPU": 1}, {"zone": "b"})
    assert _could_serve(NodeType("a", {"CPU": 1}, None), {"CPU": 1, "memory": 1e9}, {"zone": "b"})
    assert not _could_serve(NodeType("a", {"CPU": 1}, {"zone": "c"}), {"CPU": 1}, {"zone": "b"})
    assert not _could_serve(NodeType("a", {"CPU": 1}, {}), {"CPU": 1}, {"zone": "b"})
    assert not _could_serve(NodeType("a", {"CPU": 1, "memory": 1e6}, {}), {"memory": 1e9}, {})
