"""Fresh credentials on their way from the driver to jobs that outlive those they started with."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import ray
import ray.cloudpickle
import servers
from issuing import Issuer, issuer, issuing_server

from ray_decorator.cluster import credential_broker as module
from ray_decorator.cluster.credential_broker import Broker
from ray_decorator.core.errors import StoreDeniedError
from ray_decorator.core.values.stores import Credentials, Location
from ray_decorator.job.aws.fresh_credentials import ask
from ray_decorator.store.identity import identify

__all__ = ["issuer", "issuing_server"]

URL = f"s3://{servers.BUCKET}/broker"


def test_a_task_outlives_its_credentials(issuer: Issuer, ray_session: str) -> None:
    @ray.remote(num_cpus=1)
    def work(location: Location, handle: object, seconds: float) -> int:
        from ray_decorator.store.store import open_store

        store, started, times = open_store(location, partial(ask, handle)), time.time(), 0
        while time.time() < started + seconds:
            store.put(f"key{os.getpid()}", b"x")
            store.put_parts(f"big{os.getpid()}", lambda: [b"x" * (3 << 20)] * 2, 6 << 20, 5 << 20, 2)
            times += 1
            time.sleep(1.5)  # each time, 6 MB go through the issuer's server
        return times

    issuer.lasting(10)  # a busy machine may need seconds to hand new ones on
    identity = identify(URL)
    broker = Broker(identity.fresh)
    try:
        location = identity.location
        assert all(
            times > 5 for times in ray.get([work.remote(location, broker.handle, 22) for _ in range(2)])
        )
    finally:
        broker.close()
    assert {status for _, _, status in issuer.seen} == {200, 404}, "what is not there yet is looked for"
    assert len({key for key, _, _ in issuer.seen}) >= 3
    _secret_is_in_no_file_of_ray(broker)


def _secret_is_in_no_file_of_ray(broker: Broker) -> None:
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    for path in session.rglob("*"):
        if path.is_file():
            assert b"issuedsecret" not in path.read_bytes(), path
    assert "issuedsecret" not in repr(broker) + repr(broker.handle) + repr(vars(broker))


def test_closed_it_leaves_nothing(ray_session: str) -> None:
    broker = Broker(lambda: Credentials("key", "secret", "token", time.time() + 3600))
    handle = broker.handle
    _until(lambda: ask(handle) is not None)
    assert ask(handle) == Credentials("key", "secret", "token", pytest.approx(time.time() + 3600, abs=20))
    broker.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "ray-s3-broker"]
    _until(lambda: ask(handle) is None)


def test_it_takes_no_cpu_and_no_argument(ray_session: str) -> None:
    before = ray.available_resources()["CPU"]
    broker = Broker(lambda: None)
    try:
        assert ask(broker.handle) is None
        assert ray.available_resources()["CPU"] == before
    finally:
        broker.close()


def test_a_source_that_fails_is_told_once_and_asked_again(
    ray_session: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSE_AFTER_FAILURE", 0.1)
    answers = [StoreDeniedError("log in again"), StoreDeniedError("log in again"), Credentials("key", "s")]

    def fresh() -> Credentials:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    broker = Broker(fresh)
    try:
        _until(lambda: ask(broker.handle) == Credentials("key", "s"))
    finally:
        broker.close()
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    told = "log in again. Running jobs take up the new credentials once they are there"
    assert warnings.count(told) == 1


def test_the_actor_needs_nothing_of_ours(tmp_path: Path) -> None:
    """A cluster's nodes have Ray, and not this project."""
    (tmp_path / "class.pickle").write_bytes(ray.cloudpickle.dumps(module._memory()))
    program = """
import pickle, sys
sys.modules["ray_decorator"] = None
memory = pickle.load(open("class.pickle", "rb"))()
memory.tell(b"x")
assert memory.newest() == b"x"
assert not [name for name in sys.modules if name.startswith("ray_decorator.")]
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)


def _until(condition) -> None:  # type: ignore[no-untyped-def]
    deadline = time.time() + 20
    while not condition():
        assert time.time() < deadline
        time.sleep(0.05)
