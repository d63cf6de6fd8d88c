"""`ray-s3 doctor` as a user runs it: what it finds, how that is fixed, and its exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cluster_bed
import far_project
import pytest
import servers
import warm_python

from ray_decorator.content.hashes.hash_cache import HashCache, default_path
from ray_decorator.core.errors import StoreDeniedError
from ray_decorator.core.options.settings import Options
from ray_decorator.doctor import checks
from ray_decorator.doctor.findings import Finding

CHECKS = ["settings", "credentials", "store", "Ray", "job resources", "packages", "code"]
_SCRIPT = str(Path(sys.executable).parent / "ray-s3")
_NOBODY = "127.0.0.1:1"

pytestmark = pytest.mark.app


@dataclass(frozen=True)
class Said:
    """A doctor's visit; ``found`` is check -> (status, the lines below)."""

    code: int
    out: str
    err: str

    @property
    def found(self) -> dict[str, tuple[str, str]]:
        heads = re.split(r"^(ok|warning|wrong) +(.+)\n", self.out, flags=re.MULTILINE)[1:]
        return {heads[i + 1]: (heads[i], heads[i + 2]) for i in range(0, len(heads), 3)}

    def statuses(self) -> dict[str, str]:
        return {check: status for check, (status, _) in self.found.items()}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project: 2 files of code, and one that git ignores."""
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "pyproject.toml").write_text("[project]\nname = 'digits'\n")
    (directory / "train.py").write_text("x = 1\n" * 1000)
    (directory / ".gitignore").write_text("*.bin\n")
    (directory / "weights.bin").write_bytes(b"0" * 100_000)
    return directory


def doctor(cwd: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Said:
    return _run(["-m", "ray_decorator", "doctor", *arguments], cwd, env or {})


def _run(command: list[str], cwd: Path, env: Mapping[str, str], *, script: str = "") -> Said:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RAY_AUTH_"))}
    nothing = {"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
    environ = {**clean, **nothing, "AWS_EC2_METADATA_DISABLED": "true", **env}
    begin = [script] if script else warm_python.starter(environ)
    done = subprocess.run(
        [*begin, *command], cwd=cwd, env=environ, capture_output=True, text=True, timeout=90
    )
    return Said(done.returncode, done.stdout, done.stderr)


def on(bed: cluster_bed.Bed, server: servers.Server, url: str = "s3://bucket/doctor") -> dict[str, str]:
    cluster = {**bed.environment(), "RAY_ADDRESS": bed.address}
    return {**cluster, **server.environment(), "RAY_S3_BASE_PATH": url}


def test_with_nothing_set_all_is_well_on_this_machine(project: Path) -> None:
    store = project / "cache"
    for name in (".env", "keys/deploy.pem", "kubeconfig"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("secret\n")
    asked = ["doctor", "code_include=[kubeconfig]"]
    said = _run(asked, project, {"XDG_CACHE_HOME": str(store)}, script=_SCRIPT)
    assert said.code == 0, said.out + said.err
    assert said.err == ""
    assert said.statuses() == dict.fromkeys(CHECKS, "ok")
    assert "none are needed" in said.found["credentials"][1]
    assert "none is needed: jobs read and write your files where they are" in said.found["store"][1]
    assert "a private Ray on this machine, started for this check" in said.found["Ray"][1]
    assert f"Python {sys.version.split()[0]}" in said.found["Ray"][1]
    assert "each job asks for CPU=1" in said.found["job resources"][1]
    assert "runs in place" in said.found["packages"][1]
    code = said.found["code"][1]
    assert "4 files, 6.0 kB" in code
    assert re.search(r"kept back as secrets, for their names:\n +\.env\n +keys/deploy\.pem\n", code)
    assert not store.exists()


def test_code_that_stays_at_home_is_named(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sysconfig.get_config_vars()  # Python reads them from sys.path, once
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.chdir(project)
    (project / "model.txt").write_text("weights")
    (project / ".dvc").mkdir()
    (project / ".dvcignore").write_text("/raw/\n*.log\n")
    (project / "raw").mkdir()
    for name in ("raw/x", "a.log"):
        (project / name).write_text("")
    HashCache(default_path()).record_outs([str(project / "model.txt"), str(project / "gone")])
    finding, found = checks._code(Options(code_include=["weights.bin", "nothing/"]).resolve())
    assert found is not None and "0/weights.bin" in [name for name, _ in found.files]
    assert finding.status == "warning"
    assert f"code_include: 'nothing/' matches no file below {project}; write it as in a .gitignore there" in (
        finding.facts
    )
    at = finding.facts.index("kept back, since a .dvcignore names it or DVC tracks it, and git does not:")
    assert finding.facts[at + 1 : at + 3] == ("  a.log", "  raw")
    at = finding.facts.index("left out, since earlier runs wrote it:")
    assert finding.facts[at + 1] == "  model.txt" and not any("gone" in fact for fact in finding.facts)


def test_a_cluster_that_shares_nothing(bed: cluster_bed.Bed, rclone: servers.Server, project: Path) -> None:
    said = doctor(project, env=on(bed, rclone))
    assert said.code == 0, said.out + said.err
    assert said.statuses() == dict.fromkeys(CHECKS, "ok")
    credentials = said.found["credentials"][1]
    assert "boto3 found some: env" in credentials and "they do not expire" in credentials
    assert f"region us-east-1, endpoint {rclone.endpoint}" in credentials
    ray = said.found["Ray"][1]
    assert "3 nodes:" in ray and ray.count("1 CPU, 0 GPU") == 2
    for node in bed.workers:
        assert re.search(rf"{node.hostname}/\w{{6}}: Python 3\.\d+\.\d+, Ray \d+\.", ray)
    packages = said.found["packages"][1]
    assert re.search(r"\d+ differ:\n", packages)
    assert packages.count("there absent") == 10 and re.search(r"… and \d+ more", packages)
    assert f"by {bed.venv}/bin/uv" in packages and "stays as it is" in packages
    code = said.found["code"][1]
    assert "3 files, 6.0 kB" in code and str(project) in code
    assert "6.0 kB  train.py" in code and "weights.bin" not in code
    assert rclone.directory is not None
    assert not [path for path in rclone.directory.rglob("doctor-*") if path.is_file()]
    assert servers.SECRET_KEY not in said.out + said.err
    assert servers.ACCESS_KEY not in said.out + said.err


@pytest.mark.client
def test_packages_none_the_nodes_own_credentials_and_what_no_node_has(
    bed: cluster_bed.Bed, rclone: servers.Server, project: Path
) -> None:
    address = f"ray_address={bed.client_address}"
    asks = ("packages=none", "credentials=worker", "code=none", "+ray_remote_kwargs.num_gpus=8")
    said = doctor(project, address, *asks, env=on(bed, rclone))
    assert said.code == 1, said.out + said.err
    assert said.err == ""
    status, packages = said.found["packages"]
    assert status == "wrong"
    assert "left as they are (packages: none)" in packages
    assert "cloudpickle, obstore, omegaconf (for every job), hydra-core (for Hydra jobs)" in packages
    assert re.search(r"fix: pip install cloudpickle obstore .* boto3 .* or set packages=auto", packages)
    status, own = said.found["credentials on nodes"]
    assert status == "warning"
    assert (
        "jobs bring theirs" not in own
        and "no AWS_* variable and no ~/.aws is there" in own
        and "set credentials=driver" in own
    )
    assert "none travels" in said.found["code"][1]
    status, resources = said.found["job resources"]
    assert status == "wrong"
    assert (
        "No node can ever serve GPU=8 for a job: the most that one node has is GPU=0. Ask for less in "
        "ray_remote_kwargs, or start a node that has it."
    ) in resources
    assert [check for check in said.found if check in CHECKS] == CHECKS


def test_environments_that_stand_already(
    bed: cluster_bed.Bed, rclone: servers.Server, tmp_path: Path
) -> None:
    environ = far_project.environment(bed, rclone, tmp_path / "home", uuid.uuid4().hex)
    project = far_project.write(tmp_path / "project")
    driver = far_project.Driver(project, far_project.venv() / "bin" / "python", environ)
    ran = driver.run("train.py", "hydra/launcher=ray_s3", "hydra.launcher.deps=[data.path]")
    assert ran.returncode == 0, ran.stdout
    said = driver.run("-m", "ray_decorator", "doctor")
    assert said.returncode == 0, said.stdout
    # "there", where jobs of other tests have run on the head, too
    stands = re.search(
        r"an environment with (\d+) packages is (on worker\d/\w{6}.*|there) already\n", said.stdout
    )
    assert stands and f": {stands[1]} differ:\n" in said.stdout, said.stdout
    to_build = rf"would be built on .*/\w{{6}}, once a node, by {bed.venv}/bin/uv"
    assert (re.search(to_build, said.stdout) is None) == (stands[2] == "there"), said.stdout


def test_an_option_that_jobs_set_themselves(
    bed: cluster_bed.Bed, rclone: servers.Server, project: Path
) -> None:
    said = doctor(project, "+ray_remote_kwargs.name=mine", "code=none", env=on(bed, rclone))
    assert said.code == 1, said.out + said.err
    assert said.statuses() == {"settings": "wrong"}
    assert "ray_remote_kwargs.name cannot be set: each job has a name of its own" in said.found["settings"][1]


def test_a_store_that_nodes_do_not_see(bed: cluster_bed.Bed, rclone: servers.Server, project: Path) -> None:
    if not all(node.isolated for node in bed.workers):
        pytest.skip("the workers see this machine's files")
    said = doctor(project, env=on(bed, rclone, (project / "store").as_uri()))
    assert said.code == 1
    assert said.found["store"][0] == "ok"
    status, ray = said.found["Ray"]
    assert status == "wrong"
    assert f"does not reach the store: there is no directory {project / 'store'}" in ray
    assert re.search("fix: let worker1/.* reach the store", ray)


def test_auto_finds_a_cluster_with_other_machines_and_no_store(bed: cluster_bed.Bed, project: Path) -> None:
    if not all(node.isolated for node in bed.workers):
        pytest.skip("the nodes see this machine's files")
    cluster = {**bed.environment(), "RAY_ADDRESS": bed.address, "RAY_S3_BASE_PATH": ""}
    said = doctor(project, "ray_address=auto", env=cluster)
    assert said.found["Ray"][0] == "ok"
    status, found = said.found["store"]
    assert said.code == 1 and status == "wrong"
    assert "Set s3_base_path (or RAY_S3_BASE_PATH)" in found and bed.workers[0].hostname in found


def test_wrong_credentials_hide_no_other_check_and_options_that_no_job_can_have_neither(
    bed: cluster_bed.Bed, rclone: servers.Server, project: Path
) -> None:
    wrong = {"AWS_SECRET_ACCESS_KEY": "not-the-right-secret"}
    said = doctor(project, "+ray_remote_kwargs.num_cpus=many", env=on(bed, rclone) | wrong)
    assert said.code == 1
    status, store = said.found["store"]
    assert status == "wrong"
    assert "does not accept the credentials (SignatureDoesNotMatch)" in store
    assert f"fix: see who you are there: aws sts get-caller-identity --endpoint-url {rclone.endpoint}" in (
        store
    )
    assert "ray_remote_kwargs are not accepted by ray.remote: " in said.found["job resources"][1]
    wrongs = {"store": "wrong", "job resources": "wrong"}
    assert said.statuses() == {**dict.fromkeys(CHECKS, "ok"), **wrongs}
    assert "not-the-right-secret" not in said.out + said.err


def test_no_credentials_and_no_ray(project: Path) -> None:
    env = {"RAY_ADDRESS": _NOBODY, "RAY_S3_BASE_PATH": "s3://missing/x"}
    said = doctor(project, env=env)
    assert said.code == 1
    assert said.statuses() == {
        "settings": "ok", "credentials": "wrong", "store": "warning", "Ray": "wrong",
        "job resources": "warning", "packages": "warning", "code": "ok",
    }  # fmt: skip
    assert "no AWS credentials were found for s3://missing/x" in said.found["credentials"][1]
    assert "fix: aws configure, or aws sso login" in said.found["credentials"][1]
    assert "not checked: it needs the credentials" in said.found["store"][1]
    assert f"Nobody answers at ray_address {_NOBODY}" in said.found["Ray"][1]
    assert "fix: ray start --head" in said.found["Ray"][1]
    assert "not checked: it needs Ray" in said.found["job resources"][1]
    assert "not checked: it needs Ray" in said.found["packages"][1]
    assert "3 files" in said.found["code"][1]


def test_a_check_that_fails_is_a_finding_and_hides_no_other() -> None:
    def wrong(error: Exception) -> Finding:
        def work() -> tuple[Finding, None]:
            raise error

        return checks._guarded("a check", work)[0]

    ours = wrong(StoreDeniedError("no credentials"))
    assert (ours.status, ours.facts) == ("wrong", ("no credentials",))
    assert str(ours.cure).startswith("aws configure")
    fault = wrong(KeyError("x"))
    assert (fault.status, fault.facts) == ("wrong", ("this check itself failed: KeyError: 'x'",))


def test_the_users_own_preset(project: Path) -> None:
    presets = project / "conf" / "hydra" / "launcher"
    presets.mkdir(parents=True)
    (presets / "cluster.yaml").write_text(
        f"defaults: [ray_s3]\nray_address: {_NOBODY}\ns3_base_path: file://${{oc.env:WHERE}}/store\n"
        "packages: none\ndeps: ['${data.path}']\n"
    )
    env = {"WHERE": str(project)}
    said = doctor(project, "hydra/launcher=cluster", "code=none", env=env)
    facts = said.found["settings"][1]
    assert f"Ray: {_NOBODY}" in facts and f"store: file://{project}/store" in facts
    assert "packages: none, code: none, credentials: driver" in facts
    (project / "conf").rename(project / "presets")
    again = doctor(project, "hydra/launcher=cluster", "--config-dir", "presets", "code=none", env=env)
    assert again.found["settings"] == said.found["settings"]
    missing = doctor(project, "hydra/launcher=cluster", env=env)
    assert missing.code == 1
    assert "hydra/launcher/cluster" in missing.found["settings"][1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["s3_base_pth=s3://x"], "Could not override 's3_base_pth'"),
        (["hydra.launcher.max_concurent=3"], "Key 'max_concurent' not in 'RayS3LauncherConf'"),
        (["max_concurrent=many"], "Value 'many' of type 'str' could not be converted to Integer"),
        (["packages=some"], "packages is 'some'; expected auto or none"),
        (["ray_address=10.0.0.1:6379"], "there is no s3_base_path"),
        (["hydra/launcher=basic"], "hydra/launcher=basic is another launcher"),
        (["--config-dir", "nowhere"], "--config-dir nowhere is no directory"),
    ],
)
def test_settings_that_cannot_be(arguments: list[str], message: str, tmp_path: Path) -> None:
    said = doctor(tmp_path, *arguments)
    assert said.code == 1
    assert list(said.found) == ["settings"]
    assert said.found["settings"][0] == "wrong"
    assert message in said.out
    assert "Traceback" not in said.out + said.err


def test_the_command_line(tmp_path: Path) -> None:
    shown = doctor(tmp_path, "--help")
    assert shown.code == 0
    assert "usage: ray-s3" in shown.out and "hydra/launcher=cluster" in shown.out and "exit code" in shown.out
    assert doctor(tmp_path, "packages=x").code == 1
    unknown = _run(["nurse"], tmp_path, {}, script=_SCRIPT)
    assert unknown.code == 2 and "'nurse'" in unknown.err
    assert _run([], tmp_path, {}, script=_SCRIPT).code == 2
