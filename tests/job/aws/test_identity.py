"""With the driver's credentials, boto3 in a job and in its children acts as the driver does."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import cloudpickle
import pytest
import servers
from hydra.core.utils import env_override
from issuing import Issuer, issuer, issuing_server
from store_fixtures import use
from uv import find_uv_bin

from ray_decorator.core.values.inherited import Inherited, Variable
from ray_decorator.core.values.model import Job, Paths, Receipt
from ray_decorator.core.values.stores import Credentials, Location
from ray_decorator.job.aws import identity as aws_identity
from ray_decorator.job.run import serve_job
from ray_decorator.store.identity import identify, locate
from ray_decorator.store.transport.renewal import Renew

pytestmark = pytest.mark.usefixtures("node")

__all__ = ["issuer", "issuing_server"]

SEES = """
import json, os, boto3, botocore.session
session = botocore.session.get_session()
client = boto3.client("s3")
found = session.get_credentials()
print(json.dumps({
    "key": found and found.get_frozen_credentials().access_key,
    "endpoint": client.meta.endpoint_url,
    "region": client.meta.region_name,
    "buckets": [each["Name"] for each in client.list_buckets()["Buckets"]],
    "sts": boto3.client("sts").meta.endpoint_url,
    "url": client.generate_presigned_url("get_object", {"Bucket": "b", "Key": "k"}).split("?")[0],
    "environ": open("/proc/self/environ").read() if os.path.exists("/proc") else "",
}))
"""


def child() -> Any:
    """What a process that the job starts sees."""
    return json.loads(subprocess.run([sys.executable, "-c", SEES], check=True, capture_output=True).stdout)


def on_another_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """This process has settings of its own from now on, which are not the driver's."""
    files = tmp_path / "node's own"
    files.mkdir()
    (files / "credentials").write_text(
        "[default]\naws_access_key_id = nodefile\naws_secret_access_key = nodefilesecret\n"
    )
    (files / "config").write_text("[default]\nregion = mars-1\n")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(files / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(files / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nodekey")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nodesecret")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    return dict(os.environ)


def run(
    func: Callable[[], Any],
    where: Location,
    renew: Renew | None = None,
    inherited: Inherited | None = None,
    *,
    at_home: bool = False,
) -> Any:
    """What a job that calls it gives."""

    def work(payload: bytes, paths: Paths) -> Any:
        return func()

    job = Job("j", "#0", b"", (), (), False, "/", (), os.getuid())
    task = cloudpickle.dumps(work)
    given = inherited or Inherited()
    receipt = serve_job("run", task, pickle.dumps(job), where, renew, "n", given, at_home=at_home)
    assert isinstance(receipt, Receipt) and receipt.failure is None, receipt
    return pickle.loads(receipt.value or b"")


def endpoint_in_environ() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3")


def key() -> str | None:
    found = botocore.session.get_session().get_credentials()
    return found.get_frozen_credentials().access_key if found else None


@pytest.mark.app
@pytest.mark.parametrize("kind", ["rclone", "moto"])
def test_a_jobs_child_is_the_driver(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: servers.Server = request.getfixturevalue(kind)
    use(server, monkeypatch)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-7")
    where, at_home = locate("s3://bucket/x"), child()
    before = on_another_node(monkeypatch, tmp_path)
    told = run(child, where)
    for name in ("key", "endpoint", "region", "buckets", "url"):
        assert told[name] == at_home[name], name
    assert told["url"].startswith(f"{server.endpoint}/b/k")  # addressed by path
    assert told["sts"] == "https://sts.eu-west-7.amazonaws.com"  # the endpoint is a store's, not AWS's
    for secret in (servers.SECRET_KEY, servers.ACCESS_KEY, "nodekey", "nodesecret"):
        assert secret not in told["environ"]
    assert dict(os.environ) == before


def test_a_profile_that_the_driver_has_named_is_the_driver(
    rclone: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(rclone, monkeypatch)
    where = locate("s3://bucket/x")
    before = on_another_node(monkeypatch, tmp_path)
    with open(os.environ["AWS_CONFIG_FILE"], "a") as file:
        file.write("[profile lab x]\nregion = mars-2\nrole_arn = the node's\n")
    name = "AWS_PROFILE"
    given = Inherited(aws={name: Variable("lab x")}, aws_everywhere=frozenset({name})).without_aws_identity()

    def sees() -> Any:
        session = boto3.session.Session(profile_name=os.environ[name])
        return key(), session.get_credentials().access_key, session.client("s3").meta.endpoint_url

    assert run(sees, where, inherited=given) == (*[servers.ACCESS_KEY] * 2, rclone.endpoint)
    assert dict(os.environ) == before
    monkeypatch.setenv("RAY_S3_CHOSEN", "AWS_ACCESS_KEY_ID")
    assert run(lambda: os.environ.get(name), where, inherited=given) is None


def test_the_file_is_private_and_holds_no_secret(
    rclone: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(rclone, monkeypatch)
    where = locate("s3://bucket/x")
    on_another_node(monkeypatch, tmp_path)

    def look() -> Any:
        path = Path(os.environ["AWS_CONFIG_FILE"])
        return path.read_text(), path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777

    text, mode, directory = run(look, where)
    assert (mode, directory) == (0o600, 0o700)
    assert servers.SECRET_KEY not in text and servers.ACCESS_KEY not in text


def test_a_client_that_a_module_keeps_is_good_in_the_next_job(
    rclone: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(rclone, monkeypatch)
    where = locate("s3://bucket/x")
    assert where.credentials is not None
    ends = replace(where, credentials=replace(where.credentials, expires=time.time() + 300))
    on_another_node(monkeypatch, tmp_path)
    kept: list[Any] = []
    monkeypatch.setattr(aws_identity, "_kept_by_a_test", kept, raising=False)

    def first() -> None:
        aws_identity._kept_by_a_test.append(boto3.session.Session().client("s3"))  # type: ignore[attr-defined]

    def second() -> list[str]:
        client = aws_identity._kept_by_a_test[0]  # type: ignore[attr-defined]
        return [each["Name"] for each in client.list_buckets()["Buckets"]]

    run(first, ends)
    assert run(second, ends) == ["bucket"]


@pytest.mark.app
def test_new_credentials_are_asked_for(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.lasting(5)
    driver = identify("s3://bucket/x")
    where = driver.location
    assert where.credentials is not None and where.credentials.expires is not None
    ends = where.credentials.expires
    vault = {name: os.environ[name] for name in ("AWS_CONFIG_FILE", "AWS_PROFILE")}
    on_another_node(monkeypatch, tmp_path)

    def renew() -> Credentials | None:
        here = {name: os.environ[name] for name in ("AWS_CONFIG_FILE",)}
        os.environ.update(vault)  # the driver is another process, elsewhere
        try:
            return driver.fresh()
        finally:
            del os.environ["AWS_PROFILE"]
            os.environ.update(here)

    def lasts() -> tuple[str | None, str | None]:
        first = child()["key"]
        time.sleep(max(0.0, ends - time.time()) + 0.5)
        return first, child()["key"]

    issuer.lasting(300)
    first, second = run(lasts, where, renew)
    assert first is not None and second is not None
    assert second == issuer.newest() and second != where.credentials.access_key


def test_credentials_that_have_ended_say_what_to_do(
    rclone: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(rclone, monkeypatch)
    where = replace(locate("s3://bucket/x"), credentials=Credentials("a", "b", None, time.time() - 5))
    on_another_node(monkeypatch, tmp_path)

    def fails() -> str:
        try:
            return str(key())
        except Exception as exc:
            return str(exc)

    said = run(fails, where)
    assert "the driver's AWS credentials expired at" in said and "log in again on the driver" in said


def test_what_the_job_sets_itself_wins(
    rclone: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(rclone, monkeypatch)
    where = locate("s3://bucket/x")
    before = on_another_node(monkeypatch, tmp_path)

    def sets() -> str | None:
        os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = "mine", "my secret"
        return key()

    assert run(sets, where) == "mine"
    assert dict(os.environ) == before


def test_a_profile_that_the_app_chooses_is_the_nodes(
    rclone: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(rclone, monkeypatch)
    where = locate("s3://bucket/x")
    on_another_node(monkeypatch, tmp_path)
    with open(os.environ["AWS_SHARED_CREDENTIALS_FILE"], "a") as file:
        file.write("[lab]\naws_access_key_id = labkey\naws_secret_access_key = labsecret\n")
    with open(os.environ["AWS_CONFIG_FILE"], "a") as file:
        file.write("[profile lab]\nregion = venus-3\n")

    def sets() -> tuple[str | None, Any, str | None]:
        before = key()
        with env_override({"AWS_PROFILE": "lab"}):  # as Hydra does with hydra.job.env_set
            return before, botocore.session.get_session().get_config_variable("region"), key()

    assert run(sets, where) == (servers.ACCESS_KEY, "venus-3", "labkey")


def test_what_the_runtime_env_has_chosen_wins(
    rclone: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(rclone, monkeypatch)
    where = locate("s3://bucket/x")
    on_another_node(monkeypatch, tmp_path)
    monkeypatch.setenv("RAY_S3_CHOSEN", "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY")
    assert run(key, where) == "nodekey"
    assert run(endpoint_in_environ, where) == "http://127.0.0.1:9"
    monkeypatch.setenv("RAY_S3_CHOSEN", "AWS_ENDPOINT_URL_S3")
    assert run(endpoint_in_environ, where) == "http://127.0.0.1:9"
    monkeypatch.setenv("RAY_S3_CHOSEN", "")
    assert run(endpoint_in_environ, where) == rclone.endpoint
    monkeypatch.setenv("RAY_S3_CHOSEN", "AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "venus-2")

    def region() -> tuple[str | None, Any]:
        return key(), botocore.session.get_session().get_config_variable("region")

    assert run(region, where) == (servers.ACCESS_KEY, "venus-2")


def test_nothing_is_set_for_others(
    rclone: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(rclone, monkeypatch)
    where = locate("s3://bucket/x")
    own = replace(where, credentials=None, own_credentials=True)

    def environ() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}

    as_it_is = environ()
    assert run(environ, where, at_home=True) == as_it_is  # a private Ray has the driver's environment
    assert run(environ, own) == as_it_is
    assert run(environ, locate((tmp_path / "store").as_uri())) == as_it_is
    monkeypatch.setenv("AWS_PROFILE", "of somebody who started a Ray here")
    assert run(key, where, at_home=True) == servers.ACCESS_KEY


def test_clients_are_set_as_the_drivers_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(
        "[default]\nregion = eu-west-7\nendpoint_url = http://oss.example.com\nretry_mode = adaptive\n"
        "max_attempts = 7\nrequest_checksum_calculation = when_required\ns3 =\n  addressing_style = virtual\n"
    )
    on_another_node(monkeypatch, tmp_path)
    nodes = dict(os.environ)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")

    def look() -> Any:
        client = boto3.session.Session().client("s3")
        config = client.meta.config
        url = client.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "k"})
        checksums = config.request_checksum_calculation, config.response_checksum_validation
        return config.s3, config.retries, checksums, url.split("?")[0]

    where, at_home = locate("s3://bucket/x"), look()
    assert at_home[2:] == (("when_required", "when_required"), "http://bucket.oss.example.com/k")
    monkeypatch.delenv("AWS_RESPONSE_CHECKSUM_VALIDATION")
    for name, value in {
        **nodes,
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
        "AWS_RETRY_MODE": "legacy",
    }.items():
        monkeypatch.setenv(name, value)
    assert run(look, where) == at_home
    assert run(endpoint_in_environ, where) is None  # at home, too, it is in the file alone


def test_without_a_signature_there_is_the_way_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_another_node(monkeypatch, tmp_path)
    where = Location("s3://bucket/x", endpoint="https://s3.eu-west-7.amazonaws.com", region="eu-west-7")

    def look() -> tuple[str | None, str]:
        return key(), Path(os.environ["AWS_CONFIG_FILE"]).read_text()

    assert run(look, where) == (None, "[default]\nregion = eu-west-7\n\n")


LIBRARIES = {
    "s3fs": "import s3fs; print(s3fs.S3FileSystem().cat('bucket/t.csv').decode())",
    "smart_open": "import smart_open; print(smart_open.open('s3://bucket/t.csv').read())",
    "pyarrow": "from pyarrow.fs import FileSystem; there, path = FileSystem.from_uri('s3://bucket/t.csv')\n"
    "print(there.open_input_stream(path).read().decode())",
    "pandas": "import pandas; print(pandas.read_csv('s3://bucket/t.csv').to_csv(index=False))",
}


@pytest.fixture(scope="module")
def their_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that has them, and nothing of this project."""
    python = str(tmp_path_factory.mktemp("libraries") / "bin" / "python")
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, str(Path(python).parents[1])], check=True)
    subprocess.run(
        [uv, "pip", "install", "-q", "-p", python, "s3fs", "pandas", "smart_open[s3]", "pyarrow"], check=True
    )
    return python


@pytest.mark.app
@pytest.mark.parametrize("whose", ["driver", "worker"])
def test_libraries_that_read_s3_by_themselves(
    rclone: servers.Server, whose: str, their_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(rclone, monkeypatch)
    boto3.client("s3").put_object(Bucket="bucket", Key="t.csv", Body=b"a,b\n1,2\n")
    where = locate("s3://bucket/x")
    on_another_node(monkeypatch, tmp_path)
    if whose == "worker":
        where = replace(where, credentials=None, own_credentials=True)
        for name, value in rclone.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_ENDPOINT_URL_S3")

    def read() -> dict[str, str]:
        return {
            name: subprocess.run(
                [their_python, "-c", code], check=True, capture_output=True, text=True, timeout=120
            ).stdout.strip()
            for name, code in LIBRARIES.items()
        }

    assert run(read, where) == dict.fromkeys(LIBRARIES, "a,b\n1,2")
