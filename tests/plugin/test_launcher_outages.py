"""Sweeps while their store is down: at each stage it is waited for, one line says so, and what stays down is told."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import time
from pathlib import Path

import pytest
import servers
from omegaconf import DictConfig
from store_fixtures import use
from sweeps import sweep

from ray_decorator.__main__ import main
from ray_decorator.core.errors import HomeError, StoreError

pytestmark = pytest.mark.usefixtures("ray_session")

OUTAGE = float(os.environ.get("RAY_S3_TEST_OUTAGE", "6"))
"""Seconds; longer than obstore itself tries again, but for parts: 4 times in 3 s where answers come at once."""

CONFIG = {"x": 1, "data": "data", "out": "outs/${x}"}
LARGE = b"l" * (17 << 20)


def work(cfg: DictConfig) -> int:
    read = Path(cfg.data).read_bytes()
    Path(cfg.out).parent.mkdir(parents=True, exist_ok=True)
    Path(cfg.out).write_bytes(b"made " + read)
    return len(read)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").write_bytes(str(tmp_path).encode() + LARGE)  # in parts, and never on a node before
    return tmp_path


def key_of(data: bytes) -> str:
    digest = hashlib.md5(data).hexdigest()
    return f"{digest[:2]}/{digest[2:]}"


class Outage:
    """The store is down for so long from the first request of a stage on."""

    def __init__(self, home: Path, stage: str, seconds: float = OUTAGE, fault: servers.Fault = "503") -> None:
        data = (home / "data").read_bytes()
        self._key = key_of(b"made " + data) if "outs" in stage else key_of(data)
        self._verbs = ("GET",) if "down" in stage else ("PUT", "POST")
        self._stage, self._seconds, self._fault, self.began = stage, seconds, fault, 0.0

    def __call__(self, verb: str, path: str) -> servers.Fault | None:
        if not self.began and verb in self._verbs and self._key in path:
            self.began = time.monotonic()
            print(f"outage: {self._stage}", flush=True)
        return self._fault if self.began and time.monotonic() - self.began < self._seconds else None


def test_a_store_that_is_down_for_a_while_is_waited_for(
    home: Path, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Once at each stage of a job."""
    outages = [Outage(home, stage) for stage in ("deps up", "deps down", "outs up", "outs down")]

    def fault(verb: str, path: str) -> servers.Fault | None:
        return next((fault for each in outages if (fault := each(verb, path))), None)

    with servers.counting(rclone, fault=fault) as (proxy, _):
        use(proxy, monkeypatch)
        url = f"s3://{servers.BUCKET}/{home.name}"
        [job] = sweep(CONFIG, work, [], deps=["data"], outs=["out"], s3_base_path=url)
    data = (home / "data").read_bytes()
    assert job.return_value == len(data)
    assert all(each.began for each in outages)
    assert (home / "outs" / "1").read_bytes() == b"made " + data
    # the driver's own, not what a worker has printed
    said = "\n".join(line for line in "".join(capfd.readouterr()).splitlines() if " pid=" not in line)
    while_up, while_down = said.split("outage: outs down\n")
    waiting = "does not answer as it should: waiting for it, up to 180 s (RAY_S3_STORE_PATIENCE)"
    # an upload in parts is told of when it stands still for 20 s; what is small beside it, sooner, and perhaps it
    # is not answered before the store is down again
    over = "answers again, after"
    assert while_down.count(over) == 1 and said.count(waiting) == said.count(over) <= 2
    assert waiting in while_up or OUTAGE <= 25


def test_a_third_of_all_requests_fails_or_stalls_and_the_sweep_goes_on(
    home: Path, moto: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the driver and in the jobs; RAY_S3_TEST_STALL is in seconds."""
    monkeypatch.setattr(servers, "_SLOW_SECONDS", float(os.environ.get("RAY_S3_TEST_STALL", "0.5")))
    kinds: list[servers.Fault] = ["500", "503", "lost", "cut", "reset", "slow"]
    count, befell = itertools.count(), set[servers.Fault]()

    def fault(verb: str, path: str) -> servers.Fault | None:
        turn, rest = divmod(next(count), 3)
        if rest:
            return None
        befell.add(chosen := kinds[turn % len(kinds)])
        return chosen

    with servers.counting(moto, fault=fault) as (proxy, _):
        use(proxy, monkeypatch)
        url = f"s3://{servers.BUCKET}/third-{home.name}"
        jobs = sweep(CONFIG, work, ["x=1,2,3"], deps=["data"], outs=["out"], s3_base_path=url)
    data = (home / "data").read_bytes()
    assert [job.return_value for job in jobs] == [len(data)] * 3
    assert all((home / "outs" / str(x)).read_bytes() == b"made " + data for x in (1, 2, 3))
    assert befell == set(kinds)


@pytest.mark.parametrize(
    ("stage", "fault"),
    [("deps up", "503"), ("deps down", "stall"), ("outs up", "stall"), ("outs down", "503")],
)
def test_one_that_stays_down_is_an_error_within_the_patience(
    home: Path, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch, stage: str, fault: servers.Fault
) -> None:
    monkeypatch.setenv("RAY_S3_STORE_PATIENCE", "4")
    outage = Outage(home, stage, 3600, fault)
    with servers.counting(rclone, fault=outage) as (proxy, _):
        use(proxy, monkeypatch)
        url = f"s3://{servers.BUCKET}/good-{stage.replace(' ', '-')}-{home.name}"
        with pytest.raises(HomeError if stage == "outs down" else StoreError) as info:
            sweep(CONFIG, work, [], deps=["data"], outs=["out"], s3_base_path=url)
    assert outage.began and ("503" if fault == "503" else "nobody answers for s3://") in str(info.value)
    if stage == "outs down":
        assert f"outs key 'out': {home}/outs/1 did not come home" in str(info.value)
        assert f"bring it later with: ray-s3 fetch {url}/" in str(info.value)
    if stage == "outs up":
        notes = "\n".join(info.value.__notes__)
        assert "this is of its out 'out'" in notes and "The job's outs are kept on node" in notes
        commands = re.findall(r"ray-s3 (fetch /\S+ 1)$|ray-s3 (fetch /\S+ 1);", notes, re.MULTILINE)
        assert commands and main([*"".join(commands[0]).split()[:-1], str(home / "later")]) == 0
        assert (home / "later").read_bytes() == b"made " + (home / "data").read_bytes()
