"""What the doctor says of nodes, without a cluster."""

from __future__ import annotations

import pytest

from ray_decorator.core.errors import ClusterError
from ray_decorator.core.options.settings import Options
from ray_decorator.doctor import node_checks
from ray_decorator.doctor.findings import Status
from ray_decorator.doctor.nodes import NodeFacts


@pytest.mark.parametrize(
    ("node", "status", "said"),
    [
        (NodeFacts("n", {}, boto3=True, provider="iam-role"), "ok", "n: boto3 finds some there: iam-role"),
        (
            NodeFacts("n", {}, boto3=True, hints=("ConfigParseError",)),
            "wrong",
            "n: boto3 finds none there (ConfigParseError)",
        ),
        (
            NodeFacts("n", {}, hints=("AWS_PROFILE", "~/.aws/config")),
            "ok",
            "n: boto3 is not there to ask (jobs bring theirs), but there is AWS_PROFILE, ~/.aws/config",
        ),
    ],
    ids=["found", "none", "hints"],
)
def test_credentials_of_a_node_s_own(node: NodeFacts, status: Status, said: str) -> None:
    settings = Options(ray_address="h:1", s3_base_path="file:///store", credentials="worker").resolve()
    silent = NodeFacts("silent", {}, error="it does not answer")  # which is the finding of Ray
    finding = node_checks.credentials(settings, [silent, node])
    assert (finding.status, finding.facts) == (status, (said,))
    assert (finding.cure is None) == (status == "ok")


def test_only_an_address_at_which_nobody_answers_has_a_fix_of_its_own() -> None:
    nobody = ClusterError("nobody answers")
    nobody.__cause__ = ConnectionRefusedError()
    assert str(node_checks.cure(nobody)).startswith("ray start --head there")
    assert node_checks.cure(ClusterError("it says so itself")) is None
