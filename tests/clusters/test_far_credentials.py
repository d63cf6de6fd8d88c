"""Who a job on a far node is to the store, and that nobody can read its credentials there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import cluster_bed
import far_project
import pytest
import servers
import warm_python
from issuing import Issuer, issuer, issuing_server

__all__ = ["issuer", "issuing_server"]

Start = Callable[..., subprocess.Popen[str]]
SECRETS = (b"issuedsecret", b"token-of-")
DUMP = """
import sys
import ray
from ray.experimental import internal_kv
ray.init(sys.argv[1], logging_level="ERROR", log_to_driver=False)
out = []
for namespace in (None, b"", b"fun", b"job", b"cls", b"actor", b"tracing", b"session"):
    for key in internal_kv._internal_kv_list(b"", namespace=namespace):
        out.append(key + b"=" + (internal_kv._internal_kv_get(key, namespace=namespace) or b""))
accessor = ray._private.state.state
accessor._connect_and_get_accessor()
out.append(repr((ray.nodes(), accessor.job_table(), accessor.actor_table(None))).encode())
assert any(b"enter" in each for each in out), "the task's own function should be there"
sys.stdout.buffer.write(b"\\n".join(out))
"""

S3_APP = """
import json, os, subprocess, sys, time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig

SEES = '''
import json, sys, time, boto3
session = boto3.session.Session()
found = session.get_credentials().get_frozen_credentials()
client = session.client("s3")
buckets = [each["Name"] for each in client.list_buckets()["Buckets"]]
print(json.dumps([found.access_key, client.meta.endpoint_url, client.meta.region_name, buckets]))
'''

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    done = subprocess.run([sys.executable, "-c", SEES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        environ, until = "", time.monotonic() + 10
        while not environ and time.monotonic() < until:  # it is empty at the very start of a process
            environ = Path(f"/proc/{sleeper.pid}/environ").read_text()
        sleeper.kill()
    told = [json.loads(done.stdout), environ]
    Path(HydraConfig.get().runtime.output_dir, "told.json").write_text(json.dumps(told))

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def running(
    tmp_path: Path, bed: cluster_bed.Bed, issuer: Issuer
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a job that sleeps for so many seconds, as the profile whose keys last a few only."""
    project = far_project.write(
        tmp_path / "project", {"fates.py": far_project.FATES.replace("300", "cfg.seconds")}
    )
    far_project.write(project, {"s3.py": S3_APP})
    nothing = servers.Server("rclone", issuer.endpoint, None, 0)
    environ = far_project.environment(bed, nothing, tmp_path / "home", uuid.uuid4().hex)
    for name in nothing.environment():
        del environ[name]
    environ |= {"AWS_CONFIG_FILE": str(issuer.directory / "config"), "AWS_PROFILE": "vault"}
    started: list[subprocess.Popen[str]] = []

    def start(*overrides: str, app: str = "fates.py", **more: str) -> subprocess.Popen[str]:
        sweep = [] if "hydra/launcher=basic" in overrides else ["-m"]
        given = {**environ, **more}
        begin = warm_python.starter(given, str(far_project.venv() / "bin/python"))
        command = [*begin, app, *sweep, "hydra/launcher=ray_s3", *overrides]
        process = subprocess.Popen(
            [*command, "hydra.sweep.dir=swept"], cwd=project, env=given, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "client", [False, pytest.param(True, marks=pytest.mark.client)], ids=["direct", "client"]
)
def test_a_job_outlives_its_credentials_and_they_are_found_nowhere(
    running: Start,
    tmp_path: Path, bed: cluster_bed.Bed, issuer: Issuer, client: bool,
) -> None:  # fmt: skip
    issuer.lasting(8)
    address = bed.client_address if client else bed.address
    process = running("+fate=sleeps", "+seconds=14", RAY_ADDRESS=address)
    assert process.stdout is not None
    for line in process.stdout:
        if "fate: sleeps" in line:
            break
    before = issuer.newest()
    dump = subprocess.run(
        [sys.executable, "-c", DUMP, bed.address],
        env={**os.environ, **bed.environment()},
        capture_output=True,
    )
    assert dump.returncode == 0, dump.stderr
    seen = {"Ray's tables": dump.stdout}
    for node in bed.nodes:
        for pid in node.processes():
            for what in ("environ", "cmdline"):
                seen[f"{node.name} {pid} {what}"] = _read(Path(f"/proc/{pid}/{what}"))
    time.sleep(1)
    rest = process.stdout.read()
    assert process.wait() == 0, rest
    assert (tmp_path / "project/swept/0/left.txt").read_text() == "was here"
    # the one that sent the job's directory was given after the job had started
    assert issuer.newest() > before
    sent = [key for key, token, status in issuer.seen if status == 200 and token == f"token-of-{key}"]
    assert sent[-1] > before
    seen |= {str(path): _read(path) for path in bed.logs()}
    seen |= {str(path): _read(path) for path in (tmp_path / "home").rglob("*") if path.is_file()}
    seen |= {str(path): _read(path) for path in (tmp_path / "project").rglob("*") if path.is_file()}
    assert len(seen) > 50
    for where, data in seen.items():
        assert not [secret for secret in SECRETS if secret in data], where
    for secret in SECRETS:
        assert secret.decode() not in rest


def test_boto3_in_a_child_of_a_job_is_the_driver(
    running: Start, tmp_path: Path, bed: cluster_bed.Bed, issuer: Issuer
) -> None:
    issuer.lasting(300)
    far = running(app="s3.py")
    said = far.communicate(timeout=240)[0]
    assert far.returncode == 0, said
    (key, *told), environ = json.loads((tmp_path / "project/swept/0/told.json").read_text())
    assert key in issuer.issued() and told == [issuer.endpoint, "eu-west-7", ["bucket"]]
    for secret in (*SECRETS, b"issuedkey"):
        assert secret.decode() not in environ
    assert "AWS_CONFIG_FILE=" in environ
    home = running("hydra/launcher=basic", "hydra.run.dir=at_home", app="s3.py")
    said = home.communicate(timeout=120)[0]
    assert home.returncode == 0, said
    (_, *at_home), _ = json.loads((tmp_path / "project/at_home/told.json").read_text())
    assert told == at_home


def test_workers_that_are_to_use_their_own_credentials_and_have_none_say_so(
    running: Start, bed: cluster_bed.Bed, issuer: Issuer
) -> None:
    issuer.lasting(300)
    process = running("+fate=fine", "hydra.launcher.credentials=worker")
    said = process.communicate()[0]
    assert process.returncode == 1
    assert "credentials: worker is set" in said and "has no AWS credentials" in said
    assert any(f"node {node.hostname}" in said for node in bed.workers)


def test_workers_use_their_own_credentials(
    running: Start, tmp_path: Path, bed: cluster_bed.Bed, issuer: Issuer
) -> None:
    issuer.lasting(300)
    for node in bed.workers:
        (node.directory / "home/.aws").mkdir(exist_ok=True)
        (node.directory / "home/.aws/credentials").write_text(
            "[default]\naws_access_key_id = issuedkey039\naws_secret_access_key = issuedsecret039\n"
        )
    try:
        process = running("+fate=fine", "hydra.launcher.credentials=worker")
        said = process.communicate()[0]
    finally:
        for node in bed.workers:
            (node.directory / "home/.aws/credentials").unlink()
    assert process.returncode == 0, said
    assert (tmp_path / "project/swept/0/left.txt").read_text() == "was here"
    assert "issuedkey039" in {key for key, _, _ in issuer.seen}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # a process that has ended, a socket
        return b""
