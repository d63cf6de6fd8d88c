"""The AWS config file of a job, as boto3 understands it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest

from ray_decorator.core.values.stores import Location
from ray_decorator.job.aws.config import aws_config

PLACE = Location("s3://bucket/x", endpoint="http://127.0.0.1:9000", region="eu-west-7")

CONFIG = """
[default]
region = mars-1
[profile lab]
region = venus-3
s3 =
    addressing_style = virtual
[profile role]
role_arn = arn:aws:iam::1:role/x
source_profile = lab
[profile keys]
aws_access_key_id = inline
aws_secret_access_key = inlinesecret
"""

CREDENTIALS = """
[default]
aws_access_key_id = nodekey
aws_secret_access_key = nodesecret
[lab]
aws_access_key_id = labkey
aws_secret_access_key = labsecret%
aws_session_token = labtoken
[my other lab]
aws_access_key_id = otherkey
aws_secret_access_key = othersecret
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The text, which boto3 reads from now on, of a node that has profiles."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "credentials").write_text(CREDENTIALS)
    environ = {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }
    text = aws_config(PLACE, None, None, environ)
    (tmp_path / "ours").write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "ours"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return text


def endpoint(service: str, profile: str | None = None) -> Any:
    session = boto3.session.Session(profile_name=profile)
    return session.client(service, aws_access_key_id="a", aws_secret_access_key="b").meta.endpoint_url


def test_the_endpoint_is_that_of_s3_alone(written: str) -> None:
    assert endpoint("s3") == "http://127.0.0.1:9000"
    assert endpoint("sts") == "https://sts.eu-west-7.amazonaws.com"
    client = boto3.session.Session().client("s3", aws_access_key_id="a", aws_secret_access_key="b")
    url = client.generate_presigned_url("get_object", {"Bucket": "b", "Key": "k"})
    assert url.startswith("http://127.0.0.1:9000/b/k?")


def test_profiles_of_the_node_are_there_and_no_key_is(written: str) -> None:
    found = {}
    for name in ("lab", "keys", "my other lab"):
        session = botocore.session.Session(profile=name)
        keys = session.get_credentials().get_frozen_credentials()
        found[name] = (tuple(keys)[:3], session.get_config_variable("region"))
    assert found == {
        "lab": (("labkey", "labsecret%", "labtoken"), "venus-3"),
        "keys": (("inline", "inlinesecret", None), None),
        "my other lab": (("otherkey", "othersecret", None), None),
    }
    assert endpoint("s3", "lab") == "https://s3.venus-3.amazonaws.com"
    role = botocore.session.Session(profile="role").get_scoped_config()
    assert role == {"role_arn": "arn:aws:iam::1:role/x", "source_profile": "lab"}
    for key in ("nodekey", "nodesecret", "labkey", "labsecret", "labtoken", "inline", "otherkey"):
        assert key not in written


def test_the_nodes_default_is_not_the_jobs(written: str) -> None:
    session = botocore.session.Session()
    assert session.get_credentials() is None
    assert session.get_config_variable("region") == "eu-west-7"


def test_a_file_that_cannot_be_read_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "config").write_text("no section\n")
    environ = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
    text = aws_config(Location("s3://bucket", region="eu-west-7"), tmp_path / "ca.pem", None, environ)
    assert text == f"[default]\nregion = eu-west-7\nca_bundle = {tmp_path / 'ca.pem'}\n\n"
    assert "config are not there for this job: MissingSectionHeaderError" in caplog.text
