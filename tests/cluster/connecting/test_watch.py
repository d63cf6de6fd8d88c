"""A Ray that dies under its driver is noticed within seconds, said once, and does not hold the driver up."""

from __future__ import annotations

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cluster_bed
import pytest

from ray_decorator.cluster import ray_api
from ray_decorator.cluster.connecting import connection, watch
from ray_decorator.cluster.connecting.connection import Connection
from ray_decorator.cluster.connecting.watch import Watch
from ray_decorator.core.errors import ClusterError, InputError
from ray_decorator.core.options.settings import Options

_DRIVER = """
import sys, threading, time
from ray_decorator.cluster.connecting.connection import Connection
from ray_decorator.core.options.settings import Options
from ray_decorator.cluster.connecting.watch import Watch

address = sys.argv[1]
Connection(Options(ray_address=address, s3_base_path="s3://bucket/x").resolve()).wait()
import ray

@ray.remote(num_cpus=0)
def sleep(seconds):
    import time
    time.sleep(seconds)

ray.get(sleep.remote(0))
pending = sleep.remote(600)
gone, errors = threading.Event(), []

def lost(error):
    errors.append(error)
    gone.set()

watching = Watch(address, lost, every=1.0)
print("ready", flush=True)
assert gone.wait(60)
raise errors[0]
"""

_CALLER = """
import sys, time
from pathlib import Path
from ray_decorator import ray_decorator

@ray_decorator()
def job(begun):
    Path(begun).touch()
    time.sleep(600)

job(sys.argv[1])
"""


@contextmanager
def _driver(
    argument: str, cwd: Path, env: dict[str, str], code: str = _DRIVER
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, argument],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "RAY_S3_PATIENCE": "3", **env},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _is_ready(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return any(line == "ready\n" for line in process.stdout)


def _ends_with(process: subprocess.Popen[str]) -> str:
    _, err = process.communicate(timeout=25)
    assert process.returncode == 1, err
    return err


@pytest.mark.client
def test_a_head_that_dies(doomed: cluster_bed.Bed, tmp_path: Path) -> None:
    bed = doomed
    with (
        _driver(bed.address, tmp_path, bed.environment()) as direct,
        _driver(bed.client_address, tmp_path, bed.environment()) as client,
    ):
        assert _is_ready(direct)
        assert _is_ready(client)
        since = time.monotonic()
        bed.head.kill()
        said = _ends_with(direct)
        assert f"ClusterError: Ray at {bed.address} is gone: its GCS at {bed.address} does not answer" in said
        assert "and run again for the jobs that had not finished." in said
        said = _ends_with(client)
        assert f"ClusterError: Ray at {bed.client_address} is gone: Ray Client at" in said
        assert time.monotonic() - since < 25


@pytest.mark.client
def test_a_server_behind_ray_clients_proxy_that_hangs(bed: cluster_bed.Bed, tmp_path: Path) -> None:
    def servers() -> set[int]:
        running = cluster_bed.processes_of(bed.head.pid).items()
        return {pid for pid, command in running if "--mode=specific-server" in command}

    others = servers()
    with _driver(bed.client_address, tmp_path, bed.environment()) as client:
        assert _is_ready(client)
        for pid in (own := servers() - others):
            os.kill(pid, signal.SIGSTOP)
        assert own
        try:
            said = _ends_with(client)
        finally:
            for pid in own:
                os.kill(pid, signal.SIGKILL)
        hangs = "its head does not answer through Ray Client."
        assert f"ClusterError: Ray at {bed.client_address} is gone: {hangs}" in said


@pytest.mark.cluster
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_private_ray_that_dies_or_hangs(number: signal.Signals, tmp_path: Path) -> None:
    with _driver("local", tmp_path, {}) as driver:
        assert _is_ready(driver)
        cluster_bed.kill_program(driver.pid, "raylet", number)
        said = _ends_with(driver)
        assert (
            "ClusterError: The private Ray on this machine has ended: the raylet of this process at " in said
        )
        assert "with fewer at a time (max_concurrent)" in said


@pytest.mark.cluster
def test_a_raylet_that_ends_in_an_orderly_way(tmp_path: Path) -> None:
    """So it does where one of its agents was killed. Ray hears of that at once, and knows what was lost with it."""
    begun = tmp_path / "begun"
    with _driver(str(begun), tmp_path, {}, _CALLER) as driver:
        assert _within(120, begun.exists)
        cluster_bed.kill_program(driver.pid, "raylet", signal.SIGTERM)
        said = _ends_with(driver)
        assert re.search(
            "JobDiedError: job lost its node|ClusterError: The private Ray on this machine", said
        )


class _Door:
    """Something that takes connections, while it is open."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def shut(self) -> None:
        self.listener.close()

    def open(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Door]:
    made = _Door()
    monkeypatch.setattr(ray_api, "is_client", lambda: False)
    monkeypatch.setattr(watch, "_direct_places", lambda: (("its GCS", "127.0.0.1", made.port),))
    monkeypatch.setattr(watch, "_own_raylet", lambda: ())
    monkeypatch.setattr(watch, "end_without_destructors", lambda: False)  # of this very process
    yield made
    made.shut()


class _Clock:
    """Each try takes so many seconds of it, and goes as told; then nobody answers any more."""

    def __init__(self, seconds: float, answers: Sequence[bool]) -> None:
        self.now = 0.0
        self.tries = 0
        self._seconds = seconds
        self._answers = answers

    def monotonic(self) -> float:
        return self.now

    def first_silent(self, places: object, seconds: float) -> str | None:
        self.now += self._seconds
        self.tries += 1
        answers = self.tries <= len(self._answers) and self._answers[self.tries - 1]
        return None if answers else "its GCS does not answer"


@pytest.mark.parametrize(
    ("patience", "seconds", "answers", "tries"),
    [
        ("", 5, (), 6),  # 30 s
        ("45", 5, (), 9),
        ("45", 5, (False,) * 8 + (True,), 18),  # a head that restarts
        ("1", 1, (False, False, True), 6),  # three tries at least
        ("100", 200, (), 3),
    ],
)
def test_lost_is_what_has_been_silent_for_so_long(
    patience: str,
    seconds: float,
    answers: Sequence[bool],
    tries: int,
    door: _Door,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = _Clock(seconds, answers)
    monkeypatch.setattr(watch, "time", clock)
    monkeypatch.setattr(watch, "first_silent", clock.first_silent)
    monkeypatch.setenv("RAY_S3_PATIENCE", patience)
    said: queue.Queue[ClusterError] = queue.Queue()
    Watch("10.0.0.1:6379", said.put, every=0.01)
    assert "is gone: its GCS does not answer. " in str(said.get(timeout=20))
    assert clock.tries == tries
    assert said.empty()


@pytest.mark.parametrize("given", ["0", "-3", "soon", "nan", "inf"])
def test_a_patience_that_cannot_be(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_S3_PATIENCE", given)
    expected = f"RAY_S3_PATIENCE is {given!r}; expected for how many seconds a cluster may be silent"
    with pytest.raises(InputError, match=f"^{expected}.* a number above 0, such as 30$"):
        watch.patience()
    monkeypatch.setattr(connection, "is_connected", lambda: False)
    connecting = Connection(Options(ray_address="10.0.0.1:1", s3_base_path="s3://bucket/x").resolve())
    with pytest.raises(InputError, match=expected):
        connecting.wait()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("10.0.0.1:6379", "may take longer than 0.3 s: set RAY_S3_PATIENCE to more seconds."),
        ("local", "The private Ray on this machine has ended: its GCS at 127.0.0.1:"),
    ],
)
def test_a_port_that_is_shut_is_told_once(
    address: str, says: str, door: _Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_S3_PATIENCE", "0.3")
    said: list[ClusterError] = []
    watching = Watch(address, said.append)
    door.shut()
    assert _within(20, lambda: len(said) == 1)
    assert f"its GCS at 127.0.0.1:{door.port} does not answer" in str(said[0])
    assert says in str(said[0])
    watching.close()


def test_a_port_whose_process_is_silent(door: _Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_S3_PATIENCE", "0.3")
    said: queue.Queue[ClusterError] = queue.Queue()
    Watch("10.0.0.1:6379", said.put)
    assert f"its GCS at 127.0.0.1:{door.port} does not answer (timed out)" in str(said.get(timeout=20))


def test_a_ray_that_hangs_when_all_is_done_is_left_alone(door: _Door) -> None:
    watching = Watch("10.0.0.1:6379", lambda error: None, every=0.2)
    assert not watching.silent
    watching.close()
    assert watching.silent


@pytest.fixture
def asked(door: _Door, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[bool], threading.Event]]:
    """The questions through Ray Client, and what answers those that wait, and all from then on."""
    questions: list[bool] = []
    answer = threading.Event()

    def ask() -> None:
        questions.append(answer.is_set())
        answer.wait(60)

    monkeypatch.setattr(ray_api, "is_client", lambda: True)
    monkeypatch.setattr(watch, "greeted", lambda *place: None)
    monkeypatch.setattr(watch, "_through_client", ask)
    yield questions, answer
    answer.set()


def test_a_head_that_hangs_behind_ray_client_is_lost(
    asked: tuple[list[bool], threading.Event], door: _Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_S3_PATIENCE", "0.3")
    said: queue.Queue[ClusterError] = queue.Queue()
    Watch(f"ray://127.0.0.1:{door.port}", said.put)
    assert "is gone: its head does not answer through Ray Client. " in str(said.get(timeout=20))
    assert asked[0] == [False]  # one question, which keeps a thread there


def test_a_head_that_is_slow_behind_ray_client_is_asked_again_once_it_has_answered(
    asked: tuple[list[bool], threading.Event], door: _Door
) -> None:
    questions, answer = asked
    said: list[ClusterError] = []
    watching = Watch(f"ray://127.0.0.1:{door.port}", said.append, every=0.1)
    assert _within(20, lambda: questions == [False])
    time.sleep(0.5)
    assert questions == [False]
    answer.set()
    assert _within(20, lambda: len(questions) > 2)
    watching.close()
    assert not watching.silent and not said


def test_with_tls_a_place_that_takes_connections_lives(door: _Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server logs what is no TLS as an error."""
    place = ("its GCS", "127.0.0.1", door.port)
    assert "does not answer (timed out)" in str(watch.first_silent([place], 0.2))
    monkeypatch.setenv("RAY_USE_TLS", "1")
    assert watch.first_silent([place], 0.2) is None


def test_a_closed_watch_says_nothing(door: _Door) -> None:
    said: list[ClusterError] = []
    before = set(threading.enumerate())
    Watch("10.0.0.1:6379", said.append, every=0.1).close()
    door.shut()
    time.sleep(0.6)
    assert said == []
    assert "ray-watch" not in [thread.name for thread in set(threading.enumerate()) - before]


def test_a_gcs_that_dies_while_it_is_asked_for_the_raylet(
    door: _Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(watch, "_own_raylet", lambda: ended.wait(60) and ())
    monkeypatch.setenv("RAY_S3_PATIENCE", "0.3")
    said: queue.Queue[ClusterError] = queue.Queue()
    door.shut()
    Watch("10.0.0.1:6379", said.put)
    assert "is gone: its GCS at" in str(said.get(timeout=20))
    ended.set()


def _within(seconds: float, happens: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
