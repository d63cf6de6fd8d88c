"""What the doctor says about the packages of nodes, without a cluster."""

from __future__ import annotations

import sys
from dataclasses import replace

from ray_decorator.core.values.bundles import Requirements
from ray_decorator.doctor import packages
from ray_decorator.doctor.nodes import NodeFacts
from ray_decorator.environment.needed import Needed


def test_what_nodes_lack_for_some_jobs_alone() -> None:
    node = NodeFacts("worker1/abc", {}, python=sys.version_info[:3], missing={"hydra-core": "Hydra jobs"})
    found = packages.check(None, [node])
    assert found.status == "warning"
    assert "worker1/abc: lacks what this project itself needs there: hydra-core (for Hydra jobs)" in (
        found.facts
    )
    assert found.cure == "pip install hydra-core in the cluster's own environment, or set packages=auto"
    own = replace(node, missing={**node.missing, "boto3": "credentials: worker"})
    assert packages.check(None, [own]).status == "wrong"
    neither = replace(node, missing={**node.missing, "pathspec": "decorated functions"})
    assert packages.check(None, [neither]).status == "wrong"
    assert packages.check(None, [replace(node, missing={})]).status == "ok"


def test_where_an_environment_is_built_already_uv_is_not_needed() -> None:
    needs = Requirements(sys.version_info[:2], "linux", {"alpha": "2.0", "beta": "1.0"})
    lacking = {"alpha": "1.0", "beta": None}
    node = NodeFacts(
        "worker1/abc", {}, python=sys.version_info[:3], platform="linux", lacking=lacking, prebuilt=2
    )
    found = packages.check(Needed(needs, frozenset({"dvc", "dulwich"}), "it says so"), [node])
    assert (
        found.facts[0] == "2 packages on the driver for jobs, and 2 that stay here (it says so): dulwich, dvc"
    )
    assert found.status == "ok" and found.cure is None
    assert found.facts[-1] == "  an environment with 2 packages is there already"
    other = replace(node, name="worker2/def", prebuilt=0)
    found = packages.check(Needed(needs), [node, other])
    assert found.status == "wrong"
    assert found.facts[1:] == (
        "worker1/abc, worker2/def: 2 differ:",
        "  alpha: here 2.0, there 1.0",
        "  beta: here 1.0, there absent",
        "  an environment with 2 packages is on worker1/abc already",
        "  no uv is on worker2/def to install them with",
    )


def test_another_minor_python_is_wrong() -> None:
    node = NodeFacts("worker1/abc", {}, python=(3, 9, 1), executable="/usr/bin/python3")
    found = packages.check(Needed(Requirements(sys.version_info[:2], "linux", {})), [node])
    assert found.status == "wrong"
    assert "worker1/abc: Python 3.9 (/usr/bin/python3), the driver's is 3." in "\n".join(found.facts)
    assert found.cure is not None and found.cure.startswith("start the driver with Python 3.9")


def test_nodes_that_did_not_answer_are_left_out() -> None:
    found = packages.check(None, [NodeFacts("worker1/abc", {}, "did not answer within 30 s")])
    assert (found.status, found.facts[-1]) == ("warning", "no node has answered")
