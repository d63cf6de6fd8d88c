"""The cluster that users have: jobs settle whatever Ray answers, and options are seen through first."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cloudpickle
import cluster_bed
import pytest

from ray_decorator.cluster.cluster import Cluster
from ray_decorator.cluster.ray_cluster import RayCluster, check_options, connection_mark
from ray_decorator.core.errors import ClusterError, InputError, JobCancelledError, JobDiedError, JobError
from ray_decorator.core.options.settings import Options, Settings
from ray_decorator.core.serialization.failures import rebuilt
from ray_decorator.core.values.model import Job, Out, Receipt
from ray_decorator.core.values.stores import Location

SECONDS = 60.0


def settings(**more: Any) -> Settings:
    return Options(ray_address="local", s3_base_path="file:///x", ray_remote_kwargs=more).resolve()


@pytest.fixture
def cluster(ray_session: str, tmp_path: Path) -> Cluster:
    return made(tmp_path)


def made(directory: Path, **remote: Any) -> RayCluster:
    place = Location((directory / "store").as_uri())
    return RayCluster(settings(**remote), lambda: place, [str(directory)])


def job(name: str = "#0", **more: Any) -> Job:
    given: dict[str, Any] = {"id": os.urandom(8).hex(), "outs": (), "has_workspace": False, "deps": ()}
    return Job(name=name, payload=b"", cwd="/", sys_path=(), user=os.getuid(), **(given | more))


def submitted(cluster: Cluster, function: Callable[..., Any], one: Job) -> Future[Receipt]:
    return cluster.submit(cluster.put(cloudpickle.dumps(function)), one)


def test_a_value_and_an_exception(cluster: Cluster) -> None:
    value = submitted(cluster, lambda payload, paths: os.getpid(), job()).result(SECONDS)
    assert pickle.loads(value.value or b"") != os.getpid() and value.node
    failed = submitted(cluster, lambda payload, paths: {}["gone"], job()).result(SECONDS)
    assert failed.failure is not None and type(rebuilt(failed.failure)) is KeyError


def test_a_crash_is_a_job_error_that_says_how_to_retry(cluster: Cluster) -> None:
    crashed = submitted(cluster, lambda payload, paths: os.kill(os.getpid(), signal.SIGKILL), job("#3 x=1"))
    error = crashed.exception(SECONDS)
    assert type(error) is JobDiedError
    assert str(error).startswith("#3 x=1 crashed: its process died without reporting an error")
    assert str(error).endswith("Set ray_remote_kwargs.max_retries to run it again")


@pytest.mark.usefixtures("ray_session")
def test_ray_itself_runs_nothing_again(tmp_path: Path) -> None:
    cluster = made(tmp_path, max_retries=3, retry_exceptions=True)
    runs = tmp_path / "runs"

    def dies(payload: bytes, paths: Any) -> None:
        with open(runs, "a") as file:
            file.write(os.environ["RAY_S3_ATTEMPT"])
        os._exit(1)

    error = submitted(cluster, dies, job("#3", attempt=2)).exception(SECONDS)
    assert type(error) is JobDiedError and str(error).endswith("(killed, os._exit or a segmentation fault)")
    assert runs.read_text() == "2"


def test_what_a_crashed_job_left_is_found_once(cluster: Cluster, tmp_path: Path) -> None:
    def crashes(payload: bytes, paths: Any) -> None:
        (Path(paths.workspace) / "train.log").write_text("so far")
        os.kill(os.getpid(), signal.SIGKILL)

    one = job(outs=(Out("w", "run", directory=True),), has_workspace=True)
    assert isinstance(submitted(cluster, crashes, one).exception(SECONDS), JobError)
    receipt = cluster.rescue(one)
    assert receipt is not None and list(receipt.outs) == [0]
    assert cluster.rescue(one) is None


def test_a_cancelled_job(cluster: Cluster, tmp_path: Path) -> None:
    started = tmp_path / "started"
    pending = submitted(cluster, _waits_for_ever(started), job("#1"))
    _await(started)
    cluster.cancel(pending, force=True)
    error = pending.exception(SECONDS)
    assert isinstance(error, (JobCancelledError, JobDiedError, JobError)) and str(error).startswith("#1 ")
    cluster.cancel(pending, force=True)  # it has ended: nothing to do


def test_one_machine_reaches_nobody_else_and_lends_nothing(cluster: Cluster) -> None:
    assert not cluster.reaches_out()
    assert cluster.capacity() == 2
    assert cluster.lend_cpus([]) is False  # this is no job


def test_its_mark_tells_the_connection(cluster: Cluster) -> None:
    assert connection_mark() == connection_mark() != ""


@pytest.mark.usefixtures("ray_session")
def test_the_options_that_ray_takes_are_honoured(tmp_path: Path) -> None:
    def seen(payload: bytes, paths: Any) -> Any:
        import ray

        here = ray.get_runtime_context()
        return os.getpid(), os.environ.get("COLOUR"), here.get_assigned_resources().get("CPU")

    remote = {
        "max_calls": 1,
        "num_cpus": 0.5,
        "runtime_env": {"env_vars": {"COLOUR": "green"}},
        "scheduling_strategy": "SPREAD",
        "fallback_strategy": [{"label_selector": {"ray.io/node-id": "!in(none)"}}],
        "label_selector": {"zone": "nowhere"},
        "enable_task_events": False,
    }
    cluster = made(tmp_path, **remote)
    values = [pickle.loads(submitted(cluster, seen, job()).result(SECONDS).value or b"") for _ in range(2)]
    assert [value[1:] for value in values] == [("green", 0.5)] * 2
    assert values[0][0] != values[1][0]  # one process, one job


@pytest.mark.usefixtures("ray_session")
def test_what_no_node_can_give_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"^No node can ever serve GPU=3 for a job"):
        made(tmp_path, num_gpus=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_cpu": 1}, "^ray_remote_kwargs are not accepted by ray.remote: .*num_cpu"),
        ({"lifetime": "detached"}, "^ray_remote_kwargs are not accepted by ray.remote: .*lifetime"),
        (
            {"object_store_memory": 1},
            "^ray_remote_kwargs are not accepted by ray.remote: .*object_store_memory",
        ),
    ],
)
def test_options_that_ray_does_not_take_are_refused_without_a_connection(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_options(settings(**options))


def _waits_for_ever(started: Path) -> Callable[..., None]:
    def waits(payload: bytes, paths: Any) -> None:
        started.touch()
        time.sleep(600)

    return waits


def _await(path: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


_JOINS_LATE = """
import sys
from pathlib import Path
import ray
from ray_decorator.cluster.ray_cluster import RayCluster
from ray_decorator.core.errors import InputError
from ray_decorator.core.values.bundles import Bundle; from ray_decorator.core.values.stores import Location
from ray_decorator.core.options.settings import Options, Settings

ray.init(sys.argv[1], logging_level="ERROR", log_to_driver=False)
here = Path.cwd().as_uri()
settings = Settings("auto", here, True, ray_remote_kwargs={"num_cpus": 0})
cluster = RayCluster(settings, lambda: Location(here), [])
cluster.prepare(Bundle(None, None))
print("one machine", flush=True)
sys.stdin.readline()
try:
    cluster.prepare(Bundle(None, None))
except InputError as exc:
    print(exc)
"""


@pytest.mark.client  # where the others are that use this cluster
@pytest.mark.skipif(not cluster_bed.can_isolate(), reason="needs root and mount namespaces")
def test_with_no_store_a_node_that_joins_from_elsewhere_is_refused(
    scaling: cluster_bed.Bed, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _JOINS_LATE, scaling.address],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, **scaling.environment()},
    ) as driver:  # fmt: skip
        assert driver.stdout is not None
        assert driver.stdout.readline() == "one machine\n"
        worker = scaling.add_worker()
        said, _ = driver.communicate("\n", timeout=SECONDS)
    assert said == (
        f"Ray has nodes on other machines ({worker.hostname}), which cannot see this machine's disk. "
        "Set s3_base_path (or RAY_S3_BASE_PATH) to s3://bucket/prefix\n"
    )
