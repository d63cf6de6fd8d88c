"""Stores that stall, cut, refuse for a while, or are gone: real servers behind a proxy that does so."""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import servers
from store_fixtures import FaultyProxy, s3_store
from trees import numbered, read, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.core.errors import InputError, StoreDeniedError, StoreError, StoreUnreachableError
from ray_decorator.core.progress import NoProgress
from ray_decorator.store.store import Store
from ray_decorator.store.transfer import pull_all, push, snapshot
from ray_decorator.store.transport import patience as patience_module
from ray_decorator.store.transport.patience import SECONDS, Patience, is_passing, patience

BIG = (10 << 20) + 17  # three parts

pytestmark = pytest.mark.usefixtures("small_parts")


@pytest.fixture(params=["rclone", "moto"])
def server(request: pytest.FixtureRequest) -> servers.Server:
    found: servers.Server = request.getfixturevalue(request.param)
    return found


def test_the_patience_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_S3_STORE_PATIENCE", raising=False)
    assert patience() == SECONDS == 180
    monkeypatch.setenv("RAY_S3_STORE_PATIENCE", "7.5")
    assert patience() == 7.5
    for wrong in ("soon", "nan", "inf", "-1"):
        monkeypatch.setenv("RAY_S3_STORE_PATIENCE", wrong)
        with pytest.raises(InputError, match=f"RAY_S3_STORE_PATIENCE is '{wrong}'; expected for how many"):
            patience()


def test_what_is_no_passing_trouble_is_told_at_once() -> None:
    tries: list[int] = []

    def denied() -> None:
        tries.append(1)
        raise StoreDeniedError("no")

    with pytest.raises(StoreDeniedError):
        Patience("there", 60).keep(denied)
    assert tries == [1]
    assert is_passing(StoreUnreachableError("nobody")) and not is_passing(StoreError("in another region"))


class Clock:
    """Time that passes where one waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(patience_module, "time", self)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Asked:
    """A request that is swallowed for 90 s, until it is answered again."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.tries, self.answers = clock, 0, False

    def __call__(self) -> None:
        self.tries += 1
        if not self.answers:
            self.clock.now += 90
            raise StoreUnreachableError("nobody")


def test_once_the_patience_is_over_nothing_waits_for_it_all_over_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    waiting, upload = Patience("there", 180), Asked(clock)

    def fails(tries: int) -> None:
        before = upload.tries
        with pytest.raises(StoreUnreachableError, match="nobody"):
            waiting.keep(upload, progress=lambda: 0.0)
        assert upload.tries - before == tries

    fails(2)
    fails(0)
    waiting.keep(lambda: "a HEAD, which says nothing of uploads")
    fails(0)
    clock.now += 31
    fails(1)
    clock.now += 31
    upload.answers = True
    waiting.keep(upload, progress=lambda: 0.0)
    upload.answers = False
    fails(2)


def test_where_nothing_is_answered_no_upload_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    waiting, read, upload = Patience("there", 180), Asked(clock), Asked(clock)
    for request, progress in ((read, None), (upload, lambda: 0.0)):
        with pytest.raises(StoreUnreachableError):
            waiting.keep(request, progress=progress)
    assert (read.tries, upload.tries) == (2, 0)


def test_a_request_that_fails_alone_keeps_no_others_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store answers all others meanwhile."""
    clock = Clock(monkeypatch)
    waiting, alone = Patience("there", 180), Asked(clock)

    def beside() -> None:
        waiting.keep(lambda: None)
        alone()

    with pytest.raises(StoreUnreachableError):
        waiting.keep(beside)
    assert waiting.keep(lambda: "another one") == "another one"


def test_the_wait_and_its_end_are_told_once_for_all_threads(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray_decorator.store.transport.patience._QUIET", 0.4)
    waiting, since = Patience("s3://there", 20), time.monotonic()

    def down_for_a_while() -> str:
        if time.monotonic() - since < 1:
            raise StoreUnreachableError("nobody answers\nmore of it")
        return "up"

    logging.getLogger("ray_decorator.store.transport.patience").disabled = False
    with caplog.at_level(logging.INFO, "ray_decorator.store.transport.patience"):
        threads = [threading.Thread(target=waiting.keep, args=(down_for_a_while,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    told = [record.getMessage() for record in caplog.records]
    assert told[0] == (
        "s3://there does not answer as it should: waiting for it, up to 20 s (RAY_S3_STORE_PATIENCE). "
        "It says: nobody answers"
    )
    assert len(told) == 2 and told[1].startswith("s3://there answers again, after ")


@pytest.mark.parametrize("end", [StoreUnreachableError("nobody"), StoreDeniedError("no")])
def test_trouble_that_ended_in_an_error_keeps_no_later_one_quiet(
    end: StoreError, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(monkeypatch)
    waiting = Patience("s3://there", 20)

    def ends(at: float, error: StoreError | None) -> None:
        """A request that fails until then, and has this error in the end."""

        def attempt() -> None:
            clock.now += 3
            if clock.now < at:
                raise StoreUnreachableError("nobody")
            if error is not None:
                raise error

        waiting.keep(attempt)

    with caplog.at_level(logging.INFO, "ray_decorator.store.transport.patience"):
        with pytest.raises(type(end)):
            ends(clock.now + 15, end)
        clock.now += 100
        ends(clock.now, None)
        ends(clock.now + 10, None)
    words = [re.split(r": waiting|, after", record.getMessage())[0] for record in caplog.records]
    told = "s3://there does not answer as it should"
    assert words == [told, told, "s3://there answers again"]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Files of all the sizes that are sent in ways of their own."""
    files = {
        **numbered(20),
        "whole": b"w" * (1 << 20),
        "streamed": os.urandom(4 << 20),
        "parts": os.urandom(BIG),
    }
    return tree(tmp_path / "there", files)


def moved(store: Store, source: Path, target: Path, hashes: HashCache) -> None:
    """Bring the tree to the store and from there to ``target``."""
    taken = snapshot(source, hashes, NoProgress())
    push(taken, store, hashes, NoProgress())
    (pulled,) = pull_all([(taken.content, target)], store, hashes, NoProgress())
    if pulled.error is not None:
        raise pulled.error


@pytest.mark.parametrize("fault", ["503", "reset", "lost", "cut"])
def test_a_third_of_all_requests_fail_and_nothing_is_lost(
    faulty_proxy: FaultyProxy, fault: servers.Fault, server: servers.Server, there: Path, tmp_path: Path,
    hashes: HashCache, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    dice = random.Random(7)
    with faulty_proxy(server, fault=lambda verb, path: fault if dice.random() < 0.3 else None) as (
        proxy,
        _,
    ):
        moved(s3_store(proxy, monkeypatch), there, tmp_path / "home", hashes)
    assert read(there) == read(tmp_path / "home")


def all_at_once(
    faulty_proxy: FaultyProxy,
    server: servers.Server,
    faults: dict[str, Callable[[str, str], servers.Fault | None]],
    work: Callable[[str, Store], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Do the work for each of the faults, on ways of their own to the server: they do little but wait."""
    with ExitStack() as stack, ThreadPoolExecutor(len(faults)) as threads:
        stores = {
            name: s3_store(stack.enter_context(faulty_proxy(server, fault=fault))[0], monkeypatch)
            for name, fault in faults.items()
        }
        for done in [threads.submit(work, name, store) for name, store in stores.items()]:
            done.result(120)


def test_a_request_that_nobody_answers_is_sent_again(
    faulty_proxy: FaultyProxy, rclone: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_S3_STORE_PATIENCE", "6")  # a request has half of it
    there = tree(tmp_path / "there", {**numbered(20), "streamed": os.urandom(2 << 20)})
    stalled: dict[str, str] = {}

    def once(stage: str, fault: servers.Fault) -> Callable[[str, str], servers.Fault | None]:
        def befalls(verb: str, path: str) -> servers.Fault | None:
            if verb != stage or f"{stage} {fault}" in stalled:
                return None
            stalled[f"{stage} {fault}"] = path
            return fault

        return befalls

    def goes_well(name: str, store: Store) -> None:
        moved(store, there, tmp_path / name, HashCache.in_memory())
        assert name in stalled and read(there) == read(tmp_path / name), name

    stalls: tuple[servers.Fault, ...] = ("stall", "stall in the body")
    faults = {
        f"{verb} {fault}": once(verb, fault) for verb in ("HEAD", "GET", "LIST", "PUT") for fault in stalls
    }
    all_at_once(faulty_proxy, rclone, faults, goes_well, monkeypatch)


@pytest.mark.parametrize("stage", ["PUT", "POST", "GET"])
def test_a_store_that_is_down_for_some_seconds_is_waited_for(
    faulty_proxy: FaultyProxy, stage: str, rclone: servers.Server, there: Path, tmp_path: Path, hashes: HashCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    first: list[float] = []

    def down(verb: str, path: str) -> servers.Fault | None:
        if verb == stage:
            first.append(time.monotonic())
        return "503" if first and time.monotonic() - first[0] < 2 else None

    with faulty_proxy(rclone, fault=down) as (proxy, _):
        moved(s3_store(proxy, monkeypatch), there, tmp_path / "home", hashes)
    assert first and read(there) == read(tmp_path / "home")


def test_an_upload_in_parts_that_stands_still_is_told(
    faulty_proxy: FaultyProxy, server: servers.Server, tmp_path: Path, hashes: HashCache,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """obstore itself sends a part again and again, and says nothing."""
    monkeypatch.setattr("ray_decorator.store.transport.patience._STILL", 2.0)
    first: list[float] = []

    def down(verb: str, path: str) -> servers.Fault | None:
        if verb == "PUT" and "partNumber" in path:
            first.append(time.monotonic())
        return "503" if first and time.monotonic() - first[0] < 4 else None

    large = tree(tmp_path / "there", {"parts": os.urandom(BIG)})
    with faulty_proxy(server, fault=down) as (proxy, _), caplog.at_level(logging.INFO):
        moved(s3_store(proxy, monkeypatch), large, tmp_path / "home", hashes)
    told = [record.getMessage() for record in caplog.records if record.name.endswith("patience")]
    assert "waiting for it, up to 180 s (RAY_S3_STORE_PATIENCE). It says: no part of an upload was" in told[0]
    assert "answers again, after " in told[1] and len(told) == 2
    assert first and read(large) == read(tmp_path / "home")


HOLES = ["LIST", "HEAD", "GET", "small PUT", "whole PUT", "create", "part", "part 3", "complete"]


def is_in_hole(stage: str, verb: str, path: str) -> bool:
    """Whether a store whose ``stage`` is a black hole never answers this request."""
    match stage:
        case "whole PUT" | "small PUT":
            return verb == "PUT" or "uploadId=" in path
        case "create":
            return verb == "POST" and "uploads" in path
        case "part":  # and obstore would first have the upload forgotten
            return "partNumber=" in path or verb == "DELETE"
        case "part 3":
            return "partNumber=3" in path or verb == "DELETE"
        case "complete":
            return verb in ("POST", "DELETE") and "uploadId=" in path
    return verb == stage


def test_what_is_never_answered_is_an_error_within_the_patience(
    faulty_proxy: FaultyProxy, moto: servers.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store takes a request, and says nothing for good: by the clock of the proxy, from the first one on."""
    monkeypatch.setenv("RAY_S3_STORE_PATIENCE", "8")
    asked: dict[str, float] = {}

    def hole(stage: str) -> Callable[[str, str], servers.Fault | None]:
        def befalls(verb: str, path: str) -> servers.Fault | None:
            if not is_in_hole(stage, verb, path):
                return None
            asked.setdefault(stage, time.monotonic())
            return "stall"

        return befalls

    files = {"LIST": numbered(20), "small PUT": {"a": b"1"}, "whole PUT": {"a": os.urandom(4 << 20)}}
    parts = {"parts": os.urandom(BIG)}

    def ends(stage: str, store: Store) -> None:
        there = tree(tmp_path / "there" / stage, files.get(stage, parts))
        with pytest.raises(StoreUnreachableError, match="nobody answers for s3://"):
            moved(store, there, tmp_path / "home" / stage, HashCache.in_memory())
        assert time.monotonic() - asked[stage] < 2 * 8, f"{stage}: patience, and as much for a busy machine"

    all_at_once(faulty_proxy, moto, {stage: hole(stage) for stage in HOLES}, ends, monkeypatch)


def test_a_slow_line_is_no_black_hole(
    faulty_proxy: FaultyProxy, moto: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More under way at once than it brings within a time-out: then little by little, as 5 MiB at a time are."""
    monkeypatch.setenv("RAY_S3_STORE_PATIENCE", "5")
    data = os.urandom(17 << 20)
    whole, parts = (
        data[: 14 << 20],
        [data[start : start + (8 << 20)] for start in range(0, 17 << 20, 8 << 20)],
    )
    with faulty_proxy(moto, uplink=5 * (1 << 20)) as (proxy, requests):
        store = s3_store(proxy, monkeypatch)
        store.put("whole", whole)
        assert store.uplink.slow
        store.put_parts("parts", lambda: parts, len(data), 8 << 20, 8)
        assert any("parts?partNumber=4" in path for path in requests.paths("PUT"))
        for key, expected in {"whole": whole, "parts": data}.items():
            assert (incoming := store.get(key)) is not None and bytes(incoming.read()) == expected


def test_one_that_is_down_for_good_is_an_error_within_the_patience(
    faulty_proxy: FaultyProxy,
    rclone: servers.Server,
    there: Path,
    hashes: HashCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_S3_STORE_PATIENCE", "1")
    with faulty_proxy(rclone, fault=lambda verb, path: "503") as (proxy, _):
        store = s3_store(proxy, monkeypatch)
        with pytest.raises(StoreError, match=r"failed at files/md5/.*503"):
            push(snapshot(there, hashes, NoProgress()), store, hashes, NoProgress())
