"""What is said to Ray Client's server in place of a driver that was killed, and what is not."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cluster_bed
import grpc
import pytest
from ray.core.generated import ray_client_pb2, ray_client_pb2_grpc

from ray_decorator.cluster import ray_api
from ray_decorator.cluster.connecting import farewell
from ray_decorator.cluster.connecting.farewell import Farewell

_DRIVER = """
import os, signal, sys
from ray_decorator.cluster import ray_api
from ray_decorator.cluster.connecting.farewell import Farewell

ray_api.client_session = lambda: (sys.argv[1], [("client_id", "gone")])
Farewell()
os.kill(os.getpid(), signal.SIGKILL)
"""

_CLIENT = """
import sys, time
import ray
from ray_decorator.cluster.connecting.connection import Connection
from ray_decorator.cluster.connecting.farewell import Farewell
from ray_decorator.core.options.settings import Options

Connection(Options(ray_address=sys.argv[1], s3_base_path="s3://bucket/x").resolve()).wait()

@ray.remote(num_cpus=0)
def work(port):
    import socket, time
    held = socket.create_connection(("127.0.0.1", port))
    held.sendall(b"runs")
    time.sleep(600)

Farewell()
ray.get(work.remote(int(sys.argv[2])))
"""


class _Server(ray_client_pb2_grpc.RayletDataStreamerServicer):  # type: ignore[misc]
    """Ray Client's, as far as a farewell goes."""

    def __init__(self) -> None:
        self.heard = queue.Queue[tuple[str, ...]]()

    def Datapath(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        given = dict(context.invocation_metadata())
        for request in requests:
            self.heard.put((given["client_id"], given["reconnecting"], request.WhichOneof("type")))
            answer = ray_client_pb2.ConnectionCleanupResponse()
            yield ray_client_pb2.DataResponse(connection_cleanup=answer)


@pytest.fixture
def server() -> Iterator[tuple[str, _Server]]:
    listening, streamer = grpc.server(ThreadPoolExecutor(2)), _Server()
    ray_client_pb2_grpc.add_RayletDataStreamerServicer_to_server(streamer, listening)
    port = listening.add_insecure_port("127.0.0.1:0")
    listening.start()
    yield f"127.0.0.1:{port}", streamer
    listening.stop(None).wait()


def test_the_session_of_a_killed_driver_is_ended_in_its_place(server: tuple[str, _Server]) -> None:
    address, streamer = server
    died = subprocess.run([sys.executable, "-c", _DRIVER, address], timeout=60)
    assert died.returncode == -signal.SIGKILL
    assert streamer.heard.get(timeout=30) == ("gone", "True", "connection_cleanup")


def test_a_driver_that_ends_by_itself_says_it_itself(
    server: tuple[str, _Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, streamer = server
    monkeypatch.setattr(ray_api, "client_session", lambda: (address, [("client_id", "here")]))
    waiting = Farewell()
    process = waiting._process
    assert process is not None and process.poll() is None
    assert os.getsid(process.pid) == process.pid, "Ctrl-C is for the program alone"
    waiting.close()
    waiting.close()
    assert process.returncode == 0 and streamer.heard.empty()


def test_without_ray_client_there_is_nobody_to_tell() -> None:
    waiting = Farewell()
    assert waiting._process is None
    waiting.close()


def test_where_no_process_starts_jobs_run_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray_api, "client_session", lambda: ("127.0.0.1:1", []))
    monkeypatch.setattr(farewell.sys, "executable", "/nowhere/python")
    Farewell().close()
    assert "will end later, should it be killed: no process starts ([Errno 2]" in caplog.text


@pytest.mark.client
def test_jobs_of_a_killed_driver_end_at_once(bed: cluster_bed.Bed, tmp_path: Path) -> None:
    """Without a farewell after 30 s: that is Ray Client's own patience."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.settimeout(60)
        program = [sys.executable, "-c", _CLIENT, bed.client_address, str(door.getsockname()[1])]
        driver = subprocess.Popen(program, cwd=tmp_path, env={**os.environ, **bed.environment()})
        try:
            job, _ = door.accept()
            with job:
                job.settimeout(60)
                assert job.recv(10) == b"runs"
                killed = time.monotonic()
                driver.kill()
                assert job.recv(10) == b""
                assert time.monotonic() - killed < 15
        finally:
            driver.kill()
            driver.wait()
