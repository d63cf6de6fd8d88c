"""What a process has once for all its calls, and what becomes of calls that nobody waits for yet. Real Ray."""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
import servers
from store_fixtures import use
from trees import numbered, tree

from ray_decorator import ClusterError, InputError, ray_decorator
from ray_decorator.cluster.connecting.watch import Watch
from ray_decorator.content.hashes.hash_cache import HashCache, default_path
from ray_decorator.core.options.settings import Options
from ray_decorator.display.progress import make_progress
from ray_decorator.run import session as module
from ray_decorator.run import sessions
from ray_decorator.run.data import staging

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_S3_BASE_PATH", raising=False)
    yield tmp_path
    sessions.close_all()


def add(source: str, target: str, more: bytes) -> int:
    Path(target).write_bytes(Path(source).read_bytes() + more)
    return os.getpid()


def copy(source: str, target: str) -> str:
    Path(target).write_bytes(Path(source).read_bytes())
    return source


def slow(target: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.05)
    Path(target).write_text("done")


def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[int]:
    made: list[int] = []
    real = getattr(owner, name)

    def counting(*args: Any, **kwargs: Any) -> Any:
        made.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, counting)
    return made


def test_submits_share_what_is_expensive(
    home: Path, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(rclone, monkeypatch)
    monkeypatch.setenv("RAY_S3_BASE_PATH", f"s3://{servers.BUCKET}/submits")
    (home / "source").write_bytes(b"data")
    made = {
        "identities": counted(monkeypatch, staging, "identify"),
        "hash caches": counted(monkeypatch, HashCache, "__init__"),
        "watches": counted(monkeypatch, Watch, "__init__"),
        "sessions": counted(monkeypatch, module.Session, "__init__"),
    }
    there = ray_decorator(deps=["source"], outs=["target"], ray_remote_kwargs={"num_cpus": 0.5})(add)
    futures = [there.submit("source", f"target{n}", b"%d" % n) for n in range(20)]
    assert len({future.result(120) for future in futures}) <= 20
    # all different: while an object is written over, rclone says that there is none
    assert all((home / f"target{n}").read_bytes() == b"data%d" % n for n in range(20))
    assert {name: len(calls) for name, calls in made.items()} == dict.fromkeys(made, 1)


def test_a_ray_that_dies_while_it_is_looked_at_ends_the_call(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's own calls wait for its GCS for ever, then."""
    began, ended = threading.Event(), threading.Event()
    told: list[Callable[[ClusterError], None]] = []

    class NoWatch:
        def __init__(self, address: str, lost: Callable[[ClusterError], None]) -> None:
            told.append(lost)

        def close(self) -> None: ...

    def looks(*_: object) -> None:
        began.set()
        ended.wait(60)

    monkeypatch.setattr(module, "Watch", NoWatch)
    monkeypatch.setattr(module, "RayCluster", looks)
    future = ray_decorator()(os.getcwd).submit()
    assert began.wait(60)
    told[0](ClusterError("Ray is gone"))
    try:
        assert str(future.exception(20)) == "Ray is gone"
    finally:
        ended.set()


@pytest.mark.parametrize(("name", "uplink", "last"), [("files", 200e3, "*.dir"), ("large", 4e6, "*")])
def test_an_upload_for_a_cluster_that_is_lost_ends_with_it(
    name: str, uplink: float, last: str, home: Path, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "large").write_bytes(os.urandom(80 << 20))
    tree(home / "files", {str(n): os.urandom(20_000) for n in range(400)})
    told: list[Callable[[ClusterError], None]] = []

    class NoWatch:
        silent = False

        def __init__(self, address: str, lost: Callable[[ClusterError], None]) -> None:
            told.append(lost)

        def close(self) -> None: ...

    monkeypatch.setattr(module, "Watch", NoWatch)
    with servers.counting(rclone, uplink=uplink) as (slow_line, requests):
        use(slow_line, monkeypatch)
        monkeypatch.setenv("RAY_S3_BASE_PATH", f"s3://{servers.BUCKET}/lost-{name}")
        future = ray_decorator(deps=["source"], outs=["target"])(copy).submit(name, "out")
        deadline = time.monotonic() + 60
        while not (told and requests.paths("PUT")):
            assert time.monotonic() < deadline and not future.done()
            time.sleep(0.05)
        told[0](ClusterError("Ray is gone"))
        assert str(future.exception(120)) == "Ray is gone"
    assert rclone.directory is not None
    stored = rclone.directory / servers.BUCKET / f"lost-{name}" / "files"
    assert [path for path in stored.rglob(last) if path.is_file()] == [], "what goes up last"
    assert not (home / "out").exists()


def test_batches_and_submits_share_a_session(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = counted(monkeypatch, module.Session, "__init__")
    there = ray_decorator()(os.getcwd)
    assert [there(), *there.map([()]), there.submit().result(60)] == [str(home)] * 3
    assert len(made) == 1


def test_two_submits_that_write_to_one_out_while_both_run_are_refused(home: Path) -> None:
    there = ray_decorator(outs=["target"])(slow)
    first, second = there.submit("out", 1.0), there.submit("out", 0.0)
    with pytest.raises(InputError, match=r"slow .* would both write .*out \(the same path\)"):
        second.result(60)
    assert first.result(60) is None
    assert there.submit("out", 0.0).result(60) is None  # nobody writes there any more


def test_whatever_the_settings_two_calls_do_not_write_to_one_out(home: Path) -> None:
    first = ray_decorator(outs=["target"])(slow).submit("out", 1.0)
    other = ray_decorator(outs=["target"], max_concurrent=1)(slow)
    with pytest.raises(InputError, match="would both write"):
        other("out", 0.0)
    assert first.result(60) is None


def test_a_cancelled_call_writes_until_its_job_has_ended(home: Path) -> None:
    def ends_slowly(target: str, seconds: float) -> None:
        try:
            time.sleep(seconds)
        except KeyboardInterrupt:
            time.sleep(3)

    there = ray_decorator(outs=["target"])(ends_slowly)
    future = there.submit("out", 60.0)
    deadline = time.monotonic() + 60
    while not future.running() and time.monotonic() < deadline:
        time.sleep(0.05)
    future.cancel()
    refused = there.submit("out", 0.0).exception(60)
    assert isinstance(refused, InputError) and "would both write" in str(refused)


def test_a_job_s_own_calls_have_the_cpus_that_it_holds(home: Path) -> None:
    @ray_decorator(ray_remote_kwargs={"num_cpus": 2})
    def outer(count: int) -> tuple[list[int], int]:
        inner = ray_decorator(max_concurrent=1)(abs)
        return inner.map(range(count)), inner.submit(-5).result(60)

    assert outer(3) == ([0, 1, 2], 5)


def test_other_threads_of_a_program_are_waited_for(home: Path) -> None:
    there = ray_decorator(outs=["target"])(slow)
    running = threading.Thread(target=there, args=("out", 1.0))
    running.start()
    deadline = time.monotonic() + 60
    while not any(session._runs for session in sessions._sessions.values()) and time.monotonic() < deadline:
        time.sleep(0.01)
    sessions.close_all()
    running.join(60)
    assert (home / "out").read_text() == "done"


def test_a_submitted_call_can_be_cancelled_while_it_runs(home: Path) -> None:
    there = ray_decorator(outs=["target"])(slow)
    future = there.submit("out", 60.0)
    deadline = time.monotonic() + 60
    while not future.running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result(10)
    # its process is free again, and nothing came home
    assert there.submit("other", 0.0).result(60) is None
    assert not (home / "out").exists()


def test_bad_input_is_the_futures_and_keeps_nobody_else(home: Path) -> None:
    there = ray_decorator(deps=["source"], outs=["target"])(copy)
    (home / "good").write_bytes(b"1")
    bad, good = there.submit("gone", "t1"), there.submit("good", "t2")
    assert "gone, which does not exist" in str(bad.exception(60))
    assert isinstance(bad.exception(), FileNotFoundError)
    assert good.result(60) == str(home / "good")


class TestNothingTravels:
    def test_deps_are_read_where_they_lie_and_outs_are_moved(self, home: Path) -> None:
        tree(home / "data", numbered(20))

        @ray_decorator(deps=["data"], outs=["out"])
        def look(data: str, out: str) -> tuple[str, int, int]:
            Path(out).mkdir(exist_ok=True)
            (Path(out) / "a").write_text("new")
            return data, len(list(Path(data).rglob("*.bin"))), os.stat(Path(out) / "a").st_ino

        (home / "out").mkdir()
        (home / "out" / "kept").write_text("old")
        path, files, inode = look("data", "out")
        assert (path, files) == (str(home / "data"), 20)
        assert {p.name: p.read_text() for p in (home / "out").iterdir()} == {"a": "new", "kept": "old"}
        assert (home / "out" / "a").stat().st_ino == inode
        store = Path(Options().resolve().store_url.removeprefix("file://"))
        assert not (store / "files").exists()

    def test_what_is_read_and_written_is_the_jobs_own_until_it_is_done(self, home: Path) -> None:
        (home / "model").write_text("1")

        @ray_decorator(deps=["path"], outs=["path"])
        def train(path: str) -> str:
            Path(path).write_text(Path(path).read_text() + "2")
            return path

        assert train("model") != str(home / "model")
        assert (home / "model").read_text() == "12"

        @ray_decorator(deps=["path"], outs=["path"])
        def fail(path: str) -> None:
            Path(path).write_text("123")
            if (home / "model").read_text() == "12":
                raise ValueError

        with pytest.raises(ValueError):
            fail("model")
        assert (home / "model").read_text() == "123", "it is whole, as a local run would have left it"

    def test_an_out_that_cannot_come_home_is_kept_and_keeps_no_other(self, home: Path) -> None:
        (home / "is a file").write_text("x")

        @ray_decorator(outs=["good", "bad"])
        def write(good: str, bad: str) -> None:
            Path(good).write_text("good")
            os.mkfifo(bad)

        with pytest.raises(
            InputError, match=r"outs key 'bad': what the job wrote cannot be brought to .*/p "
        ) as met:
            write("g", "p")
        assert (home / "g").read_text() == "good"
        [note] = [note for note in met.value.__notes__ if "are kept on node" in note]
        what, where = shlex.split(note.rpartition("with: ray-s3 fetch ")[2])
        assert Path(what).is_fifo() and where == str(home / "p")

    def test_an_out_inside_of_another_one(self, home: Path) -> None:
        @ray_decorator(outs=["model", "folder"])
        def write(folder: str, model: str) -> None:
            Path(model).write_text("m")
            (Path(folder) / "log").write_text("l")

        write("run", "run/models/m.pkl")
        assert (home / "run/models/m.pkl").read_text() == "m"
        assert (home / "run/log").read_text() == "l"

    def test_a_dep_that_changes_meanwhile_is_told(self, home: Path, caplog: pytest.LogCaptureFixture) -> None:
        (home / "data").write_text("before")

        @ray_decorator(deps=["path"])
        def change(path: str) -> None:
            Path(path).write_text("meanwhile")

        change("data")
        warned = [r.getMessage() for r in caplog.records if "was changed while" in r.getMessage()]
        assert [w.split(" was changed")[0] for w in warned] == [f"{home}/data (deps key 'path')"]

    def test_a_store_that_is_named_is_used(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_S3_BASE_PATH", (home / "store").as_uri())
        (home / "data").write_text("x")

        @ray_decorator(deps=["path"])
        def where(path: str) -> str:
            return path

        assert where("data") != str(home / "data")
        assert (home / "store" / "files").is_dir()

    def test_something_in_the_way_of_an_out_is_said_and_the_out_kept_beside(self, home: Path) -> None:
        (home / "out").mkdir()

        @ray_decorator(outs=["out"])
        def write(out: str) -> None:
            os.rmdir(out)
            Path(out).write_text("made")

        with pytest.raises(InputError, match=r"outs key 'out'.*What the job wrote is at .*out\.ray_s3"):
            write("out")
        assert (home / "out.ray_s3").read_text() == "made"


def test_where_calls_write_is_known_to_later_runs(home: Path) -> None:
    (home / "source").write_bytes(b"data")
    ray_decorator(deps=["source"], outs=["target"])(copy)("source", "models/target")
    assert str(home / "models/target") in HashCache(default_path()).outs()
    assert str(home / "source") not in HashCache(default_path()).outs()


def test_another_directory_or_other_settings_are_another_session(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = sessions.session_for(Options().resolve(), make_progress)
    assert sessions.session_for(Options().resolve(), make_progress) is here
    assert sessions.session_for(Options(max_concurrent=1).resolve(), make_progress) is not here
    (home / "sub").mkdir()
    monkeypatch.chdir(home / "sub")
    assert sessions.session_for(Options().resolve(), make_progress) is not here


def test_a_session_that_was_closed_is_made_anew(home: Path) -> None:
    first = sessions.session_for(Options().resolve(), make_progress)
    sessions.close_all()
    assert not first.usable
    assert sessions.session_for(Options().resolve(), make_progress) is not first
