"""A sweep on a cluster that has only Ray, with nothing in common with the driver but S3 and a port."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

import cluster_bed
import far_project
import pytest
import script_app
import servers
from trees import read, tree

LAUNCH = ("hydra/launcher=ray_s3", "hydra.launcher.deps=[data.path]", "hydra.launcher.outs=[out]")
FATES = """\
    if cfg.x == 4:
        os.kill(os.getpid(), 9)
    if cfg.x == 5 and not os.path.exists("{tried}"):
        Path("{tried}").touch()  # which all nodes see
        os._exit(7)
    if cfg.x == 6:
        raise ValueError("no good")
    return told["value"]
"""


@pytest.fixture
def driver(tmp_path: Path, bed: cluster_bed.Bed, rclone: servers.Server) -> far_project.Driver:
    environ = far_project.environment(bed, rclone, tmp_path / "home", uuid.uuid4().hex)
    project = far_project.write(tmp_path / "project")
    return far_project.Driver(project, far_project.venv() / "bin" / "python", environ)


def told(driver: far_project.Driver, sweep: str, jobs: Iterable[int] = (0,)) -> list[dict[str, object]]:
    return [json.loads((driver.project / f"{sweep}/{n}/result.txt").read_text()) for n in jobs]


def check_as_at_home(
    done: subprocess.CompletedProcess[str],
    driver: far_project.Driver,
    sweep: str,
    bed: cluster_bed.Bed,
    finished: Iterable[int],
) -> None:
    jobs = told(driver, sweep, finished)
    assert [job["value"] for job in jobs] == [20 * (number + 1) for number in finished]
    for job in jobs:
        assert job["words"] == ["alpha", "beta", "gamma"]
        assert job["read"] == "the data"
        assert job["readme"] and job["here"]
        assert "train.py" in job["there"] and "src" in job["there"]
        assert not {"big", ".env", "data", Path(sweep).parts[0]} & set(job["there"])
    assert {job["host"] for job in jobs} <= {node.hostname for node in bed.workers}
    assert "#1 x=2" in done.stdout and "trained 2" in done.stdout
    saved = (driver.project / sweep / "1/.hydra/hydra.yaml").read_text()
    assert f"cwd: {driver.project}" in saved


@pytest.mark.client
def test_by_way_of_ray_client_a_sweep_as_at_home_crashes_that_leave_what_was_written_and_retries(
    driver: far_project.Driver, bed: cluster_bed.Bed
) -> None:
    app = (driver.project / "train.py").read_text()
    ends = FATES.format(tried=bed.venv / f"tried-{uuid.uuid4().hex}")
    (driver.project / "train.py").write_text(app.replace('    return told["value"]\n', ends))
    done = driver.run(
        "train.py", "-m", *LAUNCH, "x=1,2,3,4,5,6", "hydra.sweep.dir=swept",
        "+hydra.launcher.ray_remote_kwargs.max_retries=1", RAY_ADDRESS=bed.client_address,
    )  # fmt: skip
    assert done.returncode == 1
    check_as_at_home(done, driver, "swept", bed, (0, 1, 2, 4))
    assert "the job's process was killed by SIGKILL" in done.stdout
    assert "#3 x=4: attempt 1 of 2 failed, and is replaced by another one" in done.stdout, done.stdout
    assert "#3 x=4 crashed: its process was killed by SIGKILL" in done.stdout
    assert "#4 x=5: attempt 1 of 2 failed, and is replaced by another one" in done.stdout
    assert "ValueError: no good" in (driver.project / "swept/5/train.log").read_text()
    for number in (3, 5):
        left = driver.project / f"swept/{number}/failed/out/result.txt"
        assert json.loads(left.read_text())["value"] == 20 * (number + 1)
    assert "6 jobs: 4 COMPLETED, 2 FAILED" in done.stdout, done.stdout


def test_a_sweep_runs_as_at_home_and_later_ones_send_what_changed_build_nothing_and_leave_nothing(
    driver: far_project.Driver, bed: cluster_bed.Bed, rclone: servers.Server
) -> None:
    """Its twenty jobs use both workers, and each of these fetches the data once."""
    for number in range(120):  # so many files are worth keeping as they stand
        (driver.project / f"src/shop/part{number}.py").write_text(f"NUMBER = {number}  # {uuid.uuid4()}\n")
    data = uuid.uuid4().bytes * 10_000
    (driver.project / "data/in/big.bin").write_bytes(data)

    def kept() -> set[Path]:
        return {path for node in bed.workers for path in node.tmp.glob("ray_s3_*/idle/*/*")}

    def at_work() -> set[Path]:
        return {path for node in bed.workers for path in node.tmp.glob("ray_s3_*/jobs/*")}

    before, left = kept(), at_work()
    numbers = ",".join(str(n + 1) for n in range(20))
    with servers.counting(rclone) as (counted, requests):
        first = driver.run(
            "train.py", "-m", *LAUNCH, f"x={numbers}", "hydra.sweep.dir=multirun/one",
            AWS_ENDPOINT_URL=counted.endpoint,
        )  # fmt: skip
    assert first.returncode == 0, first.stdout
    check_as_at_home(first, driver, "multirun/one", bed, range(20))
    hosts = {job["host"] for job in told(driver, "multirun/one", range(20))}
    assert hosts == {node.hostname for node in bed.workers}
    # a node's name and the beginning of Ray's id for it
    nodes = re.findall(r"x=\d+ .* COMPLETED .* ([\w.-]+/[0-9a-f]{6}) ", first.stdout)
    assert len(nodes) == 20 and len(set(nodes)) == 2
    digest = hashlib.md5(data).hexdigest()
    assert sum(path.endswith(f"/{digest[:2]}/{digest[2:]}") for path in requests.paths("GET")) == 2
    assert re.search(r"uploading: (130|131) files", first.stdout)  # the code's, and the dep's two
    wait_for(lambda: kept() - before and not at_work() - left, 30)
    handed_on = kept() - before

    again = driver.run("train.py", "-m", *LAUNCH, "x=1,2", "hydra.sweep.dir=multirun/two")
    assert again.returncode == 0, again.stdout
    assert "uploading" not in again.stdout and "building" not in again.stdout
    wait_for(lambda: not at_work() - left, 30)
    # the very directories: no job has changed them
    assert {path.name for path in kept() - before} == {path.name for path in handed_on}

    (driver.project / "src/shop/words.txt").write_text("delta\n")
    changed = driver.run("train.py", "-m", *LAUNCH, "hydra.sweep.dir=multirun/three")
    assert changed.returncode == 0, changed.stdout
    assert told(driver, "multirun/three")[0]["words"] == ["delta"]
    assert "uploading: 1 file," in changed.stdout


def test_a_task_that_uses_ray_itself_runs_on_the_same_cluster(driver: far_project.Driver) -> None:
    """Both workers' CPUs belong to the two jobs: their tasks run on what these lend, with their packages."""
    (driver.project / "nested.py").write_text(far_project.NESTED)
    (driver.project / "shop").symlink_to("src/shop")
    (driver.project / "src/shop/squares.py").write_text(
        "def square(n):\n    import omegaconf\n    return n * n * int(omegaconf.__name__ == 'omegaconf')\n"
    )
    done = driver.run(
        "nested.py", "-m", "hydra/launcher=ray_s3", "+x=1,2",
        PYTHONPATH=str(driver.project / "src"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert [line.split()[4] for line in done.stdout.splitlines() if " COMPLETED " in line] == ["14", "14"]


def test_a_script_finds_its_own_names_as_at_home(driver: far_project.Driver) -> None:
    (driver.project / "tool").mkdir()
    (driver.project / "tool/script.py").write_text(script_app.SCRIPT)
    (driver.project / "tool/beside.txt").write_text("beside")
    done = driver.run(
        "tool/script.py", "-m", "hydra/launcher=ray_s3", "+forked=returns,no,raises",
        "hydra.sweep.dir=swept",
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    for number in range(2):
        told = (driver.project / f"swept/{number}/told.txt").read_text()
        assert told.splitlines() == script_app.TOLD
    assert done.stdout.count("the job's") == 2 and "the child's" not in done.stdout
    log = (driver.project / "swept/2/script.log").read_text()
    assert f'File "{driver.project}/tool/script.py", line' in log and script_app.RAISES in log


def test_a_build_that_fails_ends_in_the_resolvers_message(driver: far_project.Driver, tmp_path: Path) -> None:
    info = tmp_path / "extra" / "nowhere_to_be_found-1.2.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nowhere-to-be-found\nVersion: 1.2.3\n")
    started = time.monotonic()
    done = driver.run(
        "train.py", "-m", *LAUNCH, "x=1,2,3,4", PYTHONPATH=str(tmp_path / "extra"), UV_HTTP_TIMEOUT="5"
    )
    assert done.returncode == 1
    assert time.monotonic() - started < 60
    assert "nowhere-to-be-found" in done.stdout
    assert "Because" in done.stdout or "not found" in done.stdout  # uv's own words


def test_a_locked_project_under_uv_run(driver: far_project.Driver) -> None:
    (driver.project / "pyproject.toml").write_text(
        '[project]\nname = "shop"\nversion = "0.3"\nrequires-python = ">=3.11"\n'
        'dependencies = ["ray-decorator", "tabulate==0.8.10"]\n'
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[tool.setuptools.packages.find]\nwhere = ["src"]\n'
        f'[tool.uv.sources]\nray-decorator = {{ path = "{cluster_bed.REPO}", editable = true }}\n'
    )
    app = (driver.project / "train.py").read_text()
    app = app.replace("import shop.lazy", "import shop.lazy, tabulate, importlib.metadata as installed")
    app = app.replace('"host":', '"versions": [tabulate.__version__, installed.version("shop")], "host":')
    (driver.project / "train.py").write_text(app)
    caches = {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache/uv"))}
    done = subprocess.run(
        [cluster_bed._uv(), "run", "--python", sys.executable, "train.py", "-m", *LAUNCH, "hydra.sweep.dir=swept"],
        cwd=driver.project, env={**driver.environ, **caches}, timeout=200,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert (driver.project / "uv.lock").exists()
    assert told(driver, "swept")[0]["versions"] == ["0.8.10", "0.3"]


@pytest.mark.client
def test_in_the_users_own_runtime_env_a_job_stands_and_imports(
    driver: far_project.Driver, bed: cluster_bed.Bed, tmp_path: Path
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "given.txt").write_text("from there")
    (there / "given.py").write_text("NUMBER = 7")
    (driver.project / "stands.py").write_text(
        "import hydra, os\n@hydra.main(version_base=None, config_path=None)\ndef main(cfg):\n"
        "    import given\n    return open('given.txt').read(), given.NUMBER, os.environ['COLOUR']\nmain()\n"
    )
    own = "+hydra.launcher.ray_init_kwargs.runtime_env"
    done = driver.run(
        "stands.py", "hydra/launcher=ray_s3", f"{own}.working_dir={there}",
        f"{own}.env_vars.COLOUR=green", RAY_ADDRESS=bed.client_address,
    )  # fmt: skip
    assert "('from there', 7, 'green')" in done.stdout, done.stdout


def test_what_a_cancelled_job_left_comes_home_and_nothing_stays_on_its_node(
    driver: far_project.Driver, bed: cluster_bed.Bed
) -> None:
    patient = (
        "from ray_decorator.run.engine import engine\nengine._CANCEL_SECONDS = 30  # on a busy machine\n"
    )
    heeds = far_project.FATES.replace("time.sleep(300)", "[time.sleep(0.1) for _ in range(3000)]")
    (driver.project / "fates.py").write_text(patient + heeds)

    def at_work() -> set[Path]:
        left = {path for node in bed.workers for path in node.tmp.glob("ray_s3_*/jobs/*")}
        return {path for path in left if not path.name.startswith("code-")}  # cleared by the next runner

    before = at_work()
    process = subprocess.Popen(
        [str(driver.python), "fates.py", "hydra/launcher=ray_s3", "+fate=sleeps", "hydra.run.dir=ran"],
        cwd=driver.project, env=dict(driver.environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stdout is not None
    assert any("fate: sleeps" in line for line in process.stdout)
    assert at_work() - before
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert not at_work() - before
    assert (driver.project / "ran/left.txt").read_text() == "was here"
    assert (driver.project / "ran/fates.log").exists()


def test_packages_none_leaves_the_nodes_as_they_are(driver: far_project.Driver) -> None:
    done = driver.run("train.py", "-m", *LAUNCH, "x=1,2,3", "hydra.launcher.packages=none")
    assert done.returncode == 1
    assert "building" not in done.stdout
    (said,) = re.findall(r"The cluster's Python on .*", done.stdout)
    assert re.fullmatch(
        r"The cluster's Python on \S+ \(/\S+/bin/python\S*\) lacks what this project itself needs there: "
        r"cloudpickle, obstore, omegaconf \(for every job\), hydra-core \(for Hydra jobs\), .*"
        r"run `pip install cloudpickle obstore omegaconf hydra-core pathspec boto3` in the cluster's own "
        r"environment, or set `packages: auto`\.",
        said,
    )
    assert "No module named" not in done.stdout and "crashed" not in done.stdout


def test_a_node_that_dies_is_replaced_and_a_cluster_that_dies_ends_the_sweep_with_what_had_finished(
    tmp_path: Path, rclone: servers.Server
) -> None:
    with cluster_bed.start(workers=2, cpus=2) as bed:
        environ = far_project.environment(bed, rclone, tmp_path / "home", uuid.uuid4().hex)
        files = {"fates.py": far_project.FATES, "model/step.txt": "from home"}
        project = far_project.write(tmp_path / "project", files)
        log = tmp_path / "log.txt"

        def started(*arguments: str) -> subprocess.Popen[bytes]:
            command = [str(far_project.venv() / "bin/python"), "fates.py", "-m", "hydra/launcher=ray_s3"]
            with open(log, "w") as output:
                return subprocess.Popen(
                    [*command, *arguments], cwd=project, env=environ, stdout=output, stderr=subprocess.STDOUT
                )

        process = started(
            "+fate=mortal", "hydra.sweep.dir=lived", "+hydra.launcher.ray_remote_kwargs.max_retries=1",
            "+model=model", "hydra.launcher.deps=[model]", "hydra.launcher.outs=[model]",
            "hydra.launcher.checkpoint_interval=60",
        )  # fmt: skip
        wait_for(lambda: "fate: mortal" in log.read_text(), 200)
        (victim,) = (node for node in bed.workers if "node.guard" in str(node.processes()))
        assert any("raylet" in command for command in victim.processes().values())
        pids = [pid for node in bed.nodes for pid in (node.pid, *node.processes())]
        victim.kill()
        assert victim.processes() == {}
        assert process.wait(180) == 0, log.read_text()
        assert (
            "#0 +fate=mortal +model=model: attempt 1 of 2 failed, and is replaced by another one"
            in log.read_text()
        )
        assert "lost its node" in log.read_text() and " COMPLETED " in log.read_text()
        assert (project / "lived/0/left.txt").read_text() == "was here"
        saved = {path.name: path.read_text() for path in (project / "model").iterdir()}
        assert saved == {"step.txt": "from home, attempt 1, attempt 2"}

        def ray_s3(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [str(far_project.venv() / "bin/ray-s3"), *arguments],
                cwd=project, env=environ, capture_output=True, text=True, timeout=200,
            )  # fmt: skip

        [survivor] = (node for node in bed.workers if node is not victim)
        [ours] = survivor.tmp.glob("ray_s3_*")
        kept = tree(ours / "kept/job-1/model", {"weights": os.urandom(100), "more/step": b"7"})
        fetched = ray_s3("fetch", f"{survivor.hostname}:{kept}", "fetched")
        assert "fetched is complete (101 B received)" in fetched.stdout, fetched.stderr
        assert read(project / "fetched") == read(kept)

        cleaned = ray_s3("clean", "--nodes", "--yes")
        assert cleaned.returncode == 0, cleaned.stderr
        assert re.search(r"\d+ \wB +/\S+/cache  files that jobs have read \(\d+\)\n", cleaned.stdout)
        assert re.search(r"^removed \d", cleaned.stdout, re.MULTILINE)

        environ["RAY_S3_PATIENCE"] = "5"  # Ray's own threads use all of a core while nobody answers them
        process = started("+fate=fine,sleeps", "hydra.sweep.dir=swept")
        wait_for(lambda: "fate: sleeps" in log.read_text() and (project / "swept/0/left.txt").exists())
        killed = time.monotonic()
        bed.head.kill()
        code = process.wait(120)
    assert time.monotonic() - killed < 40
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids) and not bed.directory.exists()
    assert code == 1, log.read_text()
    assert f"Ray at {bed.address} is gone" in log.read_text()
    assert "did not finish: #1 +fate=sleeps" in log.read_text()
    assert (project / "swept/0/left.txt").read_text() == "was here"


def wait_for(happened: object, seconds: float = 90) -> None:
    assert callable(happened)
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.2)
