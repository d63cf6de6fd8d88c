"""One job in this process: deps in, the call, outs out; and what the receipt says of it."""

from __future__ import annotations

import gc
import hashlib
import inspect
import os
import pickle
import sys
import typing
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import servers
from store_fixtures import use
from trees import read, sent, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.manifest import object_key
from ray_decorator.core.machine.this_machine import path_id
from ray_decorator.core.progress import NoProgress
from ray_decorator.core.serialization import pickling
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.inherited import Inherited, Variable
from ray_decorator.core.values.model import Dep, Home, Job, Out, Paths, Receipt
from ray_decorator.core.values.private import Private
from ray_decorator.core.values.stores import Credentials, Location
from ray_decorator.job.disk.scratch import job_root
from ray_decorator.job.run import opened, serve_job
from ray_decorator.store.identity import locate
from ray_decorator.store.store import Store, open_store
from ray_decorator.store.transfer import pull

pytestmark = pytest.mark.usefixtures("node")


def job(deps: tuple[Dep, ...] = (), outs: tuple[Out, ...] = (), payload: Any = None, **more: Any) -> Job:
    given: dict[str, Any] = {"id": "j", "name": "#0", "has_workspace": False, "cwd": "/", "sys_path": ()}
    return Job(payload=pickle.dumps(payload), deps=deps, outs=outs, user=os.getuid(), **(given | more))


def served(
    func: Callable[[bytes, Paths], Any],
    one: Job,
    where: Location,
    *,
    at_home: bool = False,
    verb: str = "run",
) -> Receipt | None:
    function = pickling.pickled(func)
    return serve_job(verb, function, pickle.dumps(one), where, None, "this node", at_home=at_home)


def run(func: Callable[[bytes, Paths], Any], one: Job, where: Location, *, at_home: bool = False) -> Receipt:
    receipt = served(func, one, where, at_home=at_home)
    assert receipt is not None and receipt.node == "this node"
    return receipt


def home_of(path: Path) -> Home:
    marked = path_id(path.parent)
    assert marked is not None
    return Home(str(path), marked)


def test_deps_come_in_and_outs_go_out(
    tmp_path: Path, where: Location, shop: Store, hashes: HashCache
) -> None:
    files = {"a": b"1", "sub/b": b"22"}
    taken = sent(tree(tmp_path / "data", files), shop, hashes)

    def work(payload: bytes, paths: Paths) -> Any:
        [dep], [out] = paths.deps, paths.outs
        assert (Path(dep).name, Path(out).name, paths.workspace) == ("data", "model", None)
        Path(out).mkdir()
        (Path(out) / "sum").write_bytes(b"".join(sorted(read(Path(dep)).values())))
        return pickle.loads(payload) * 2

    receipt = run(work, job((Dep("d", "data", taken.content),), (Out("o", "model"),), payload=21), where)
    assert (pickle.loads(receipt.value or b""), receipt.failure, receipt.unwritten) == (42, None, ())
    assert receipt.received > 0 and receipt.sent > 0
    pull(receipt.outs[0], tmp_path / "home", shop, hashes, NoProgress())
    assert read(tmp_path / "home") == {"sum": b"122"}
    assert not job_root("j").exists()


def test_an_exception_is_data_and_outs_go_to_the_directory_s_failed(
    where: Location, shop: Store, tmp_path: Path, hashes: HashCache
) -> None:
    def work(payload: bytes, paths: Paths) -> Any:
        Path(paths.outs[0]).write_text("half a model")
        assert paths.workspace is not None
        (Path(paths.workspace) / "train.log").write_text("it failed")
        raise KeyError("no such key")

    outs = (Out("model.path", "model"), Out("w", "run", directory=True))
    receipt = run(work, job(outs=outs, has_workspace=True), where)
    assert receipt.value is None and receipt.failure is not None
    assert receipt.failure.summary == "KeyError: 'no such key'"
    assert (list(receipt.outs), receipt.failed, receipt.unwritten) == ([1], ("model.path",), ())
    pull(receipt.outs[1], tmp_path / "home", shop, hashes, NoProgress())
    assert read(tmp_path / "home") == {
        "train.log": b"it failed",
        "failed/model.path/model": b"half a model",
    }
    assert not job_root("j").exists()


@pytest.mark.parametrize("retry_on", [("builtins.LookupError",), (f"{__name__}.Gone",)])
def test_of_an_attempt_that_is_replaced_logs_alone_come_home(
    where: Location, tmp_path: Path, retry_on: tuple[str, ...]
) -> None:
    def work(payload: bytes, paths: Paths) -> Any:
        Path(paths.outs[0]).write_text("half a model")
        (Path(paths.workspace or "") / "train.log").write_text(f"attempt {os.environ['RAY_S3_ATTEMPT']}")
        (Path(paths.workspace or "") / "else").write_text("else")
        raise Gone("no such key")

    places = {name: home_of(tmp_path / name) for name in ("model", "run")}
    outs = (Out("o", "model", home=places["model"]), Out("w", "run", directory=True, home=places["run"]))
    one = job(outs=outs, has_workspace=True, retry_on=retry_on)
    receipt = run(work, one, where, at_home=True)
    assert receipt.replaced and receipt.failure is not None and receipt.outs == {}
    assert read(tmp_path / "run") == {"train.1.log": b"attempt 1"} and not job_root("j").exists()
    last = run(work, replace(one, retry_on=(), attempt=2), where, at_home=True)
    assert not last.replaced and not (tmp_path / "model").exists()
    assert read(tmp_path / "run") == {
        "train.1.log": b"attempt 1", "train.log": b"attempt 2", "else": b"else", "failed/o/model": b"half a model",
    }  # fmt: skip


class Gone(KeyError):
    pass


def test_a_job_knows_which_attempt_it_is(where: Location) -> None:
    for attempt in (1, 3):
        receipt = run(lambda payload, paths: os.environ["RAY_S3_ATTEMPT"], job(attempt=attempt), where)
        assert pickle.loads(receipt.value or b"") == str(attempt)
    assert "RAY_S3_ATTEMPT" not in os.environ


def test_sys_exit_is_data_too(where: Location) -> None:
    receipt = run(lambda payload, paths: sys.exit(0), job(), where)
    assert receipt.failure is not None and receipt.failure.summary == "SystemExit: 0"


def test_outs_that_were_not_written_are_named(where: Location) -> None:
    receipt = run(lambda payload, paths: None, job(outs=(Out("model.path", "m"),)), where)
    assert receipt.unwritten == ("model.path",) and receipt.outs == {}


def test_a_value_that_cannot_travel_says_what_to_do(where: Location) -> None:
    receipt = run(lambda payload, paths: os.scandir("/"), job(), where)
    assert receipt.failure is not None
    assert "the task returned a ScandirIterator, which cannot be pickled" in receipt.failure.summary
    assert "write the rest to a path in outs" in receipt.failure.summary


def test_a_function_that_is_returned_has_its_source(where: Location) -> None:
    returned = pickle.loads(run(lambda payload, paths: lambda: "source", job(), where).value or b"")
    assert returned() == "source" and 'lambda: "source"' in inspect.getsource(returned)


def test_what_the_store_has_lost_is_named_and_nothing_runs(where: Location, tmp_path: Path) -> None:
    gone = Content("0" * 32, 3, 1)
    receipt = run(lambda payload, paths: (tmp_path / "ran").touch(), job((Dep("d", "x", gone),)), where)
    assert receipt.missing == ("0" * 32,)
    assert not (tmp_path / "ran").exists()


def test_a_dep_that_is_in_no_store_and_not_to_be_seen_is_lacking(where: Location, tmp_path: Path) -> None:
    (tmp_path / "d").write_text("at home")
    dep = Dep("d", "d", None, path_id(tmp_path / "d"))
    assert run(lambda payload, paths: None, job((dep,)), where, at_home=False).lacks == "content"


class TestAtHome:
    def test_deps_are_read_where_they_lie_and_outs_are_moved_home(
        self, tmp_path: Path, where: Location
    ) -> None:
        (tmp_path / "d").write_text("data")
        dep, out = Dep("d", "d", None, path_id(tmp_path / "d")), Out("o", "m", home=home_of(tmp_path / "m"))

        def work(payload: bytes, paths: Paths) -> Any:
            Path(paths.outs[0]).write_text("made of " + Path(paths.deps[0]).read_text())
            return paths.deps

        receipt = run(work, job((dep,), (out,)), where, at_home=True)
        assert pickle.loads(receipt.value or b"") == (str(tmp_path / "d"),)
        assert (tmp_path / "m").read_text() == "made of data"
        assert (receipt.outs, receipt.sent, receipt.received) == ({}, 0, 0)
        assert not (tmp_path / "store").exists()

    def test_a_dep_that_is_an_out_too_is_a_copy_and_comes_home_if_it_is_whole(
        self, tmp_path: Path, where: Location
    ) -> None:
        (tmp_path / "c").write_text("old")
        dep = Dep("c", "c", None, path_id(tmp_path / "c"), inside=(0, "."))
        out = Out("c", "c", home=home_of(tmp_path / "c"), is_dep=True, beside=True)

        def work(payload: bytes, paths: Paths) -> Any:
            Path(paths.outs[0]).write_text("new")
            (tmp_path / "meanwhile").write_text((tmp_path / "c").read_text())
            raise ValueError("and then it failed")

        receipt = run(work, job((dep,), (out,)), where, at_home=True)
        assert receipt.failure is not None and receipt.failed == ()
        assert (tmp_path / "meanwhile").read_text() == "old" and (tmp_path / "c").read_text() == "new"

    def test_an_out_that_is_in_the_way_lands_beside_it_and_says_so(
        self, tmp_path: Path, where: Location
    ) -> None:
        tree(tmp_path / "m", {"kept": b"of the user"})
        out = Out("model.path", "m", home=home_of(tmp_path / "m"))
        receipt = run(
            lambda payload, paths: Path(paths.outs[0]).write_text("a file"),
            job(outs=(out,)),
            where,
            at_home=True,
        )
        assert receipt.failure is not None
        assert "outs key 'model.path': " in receipt.failure.summary
        assert f"What the job wrote is at {tmp_path}/m.ray_s3" in receipt.failure.summary
        assert read(tmp_path / "m") == {"kept": b"of the user"}


def test_credentials_travel_apart_from_the_rest() -> None:
    place = Location("s3://bucket/x", endpoint="http://e")
    private = Private(Credentials("key", "secret"), Inherited(argv=("a",)))
    found = opened(pickle.dumps(place), pickle.dumps(private))
    assert found == (replace(place, credentials=private.credentials), private.inherited)


def test_a_job_takes_over_what_it_inherited_before_its_function_is_loaded(where: Location) -> None:
    class Loads:
        def __reduce__(self) -> Any:
            return eval, (
                "lambda *given, seen=__import__('os').environ['TOKEN']: [seen, *__import__('sys').argv]",
            )

    inherited = Inherited({"TOKEN": Variable("hunter2")}, ("app.py", "x=1"))
    before = dict(os.environ), list(sys.argv)
    receipt = serve_job("run", pickle.dumps(Loads()), pickle.dumps(job()), where, None, "n", inherited)
    assert receipt is not None and receipt.failure is None
    assert pickle.loads(receipt.value or b"") == ["hunter2", "app.py", "x=1"]
    assert (dict(os.environ), list(sys.argv)) == before


def test_what_its_threads_write_comes_home_as_from_a_program(where: Location, tmp_path: Path) -> None:
    def late(payload: bytes, paths: Paths) -> str:
        import threading
        import time

        def write() -> None:
            time.sleep(0.3)
            Path(paths.outs[0]).write_text("late")

        threading.Thread(target=write).start()
        return "returned"

    out = Out("model", "model.txt", home=home_of(tmp_path / "model.txt"))
    receipt = run(late, job(outs=(out,)), where, at_home=True)
    assert (receipt.failure, receipt.unwritten) == (None, ())
    assert pickle.loads(receipt.value or b"") == "returned"
    assert (tmp_path / "model.txt").read_text() == "late"


@pytest.mark.usefixtures("small_parts")
class TestOutsHeal:
    """A job that makes the same again finds objects in the store that were lost, or have other bytes now."""

    FILES: typing.ClassVar = {"small": b"small", "sub/large": b"l" * 300_000, "huge": b"h" * (6 << 20)}

    @pytest.fixture(params=["file", "rclone", "moto"])
    def place(
        self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Location:
        if request.param == "file":
            return locate((tmp_path / "store").as_uri())
        server: servers.Server = request.getfixturevalue(request.param)
        use(server, monkeypatch)
        return locate(f"s3://{servers.BUCKET}/{uuid.uuid4().hex}")

    @pytest.mark.parametrize("spoil", ["lost", "the same size", "another size"])
    def test_they_are_uploaded_again(
        self, place: Location, tmp_path: Path, hashes: HashCache, spoil: str
    ) -> None:
        files = self.FILES

        def work(payload: bytes, paths: Paths) -> None:
            tree(Path(paths.outs[0]), files)
            Path(paths.outs[1]).write_bytes(files["sub/large"])

        one, shop = job(outs=(Out("o", "model"), Out("f", "f"))), open_store(place)
        first = run(work, one, place)
        objects = [(key, size) for page in shop.list("files/md5") for key, size in page]
        assert len(objects) == len(files) + 1
        for key, size in objects:
            if spoil == "lost":
                if not key.endswith(".dir"):
                    shop.delete(key)
            else:
                data = b"x" * (size + (spoil == "another size"))
                shop.put(key, data)
        second = run(work, one, place)
        assert second.failure is None and second.outs == first.outs
        assert second.sent >= sum(map(len, files.values()))
        pull(second.outs[0], tmp_path / "home", shop, hashes, NoProgress())
        pull(second.outs[1], tmp_path / "f", shop, hashes, NoProgress())
        assert read(tmp_path / "home") == files and (tmp_path / "f").read_bytes() == files["sub/large"]

    def test_what_is_there_is_not_sent_again(self, place: Location) -> None:
        def work(payload: bytes, paths: Paths) -> None:
            Path(paths.outs[0]).write_bytes(b"l" * 300_000)
            Path(paths.outs[1]).write_bytes(b"h" * (6 << 20))

        one = job(outs=(Out("o", "model"), Out("f", "f")))
        assert run(work, one, place).sent > 6 << 20
        assert run(work, one, place).sent == 0


@pytest.mark.parametrize("data", [b"2", b"22"])
def test_a_dep_whose_bytes_are_others_is_reported_as_missing(
    where: Location, shop: Store, tmp_path: Path, hashes: HashCache, data: bytes
) -> None:
    (tmp_path / "d").write_bytes(b"1")
    taken = sent(tmp_path / "d", shop, hashes)
    shop.put(object_key(taken.content.digest), data)
    receipt = run(
        lambda payload, paths: (tmp_path / "ran").touch(), job((Dep("d", "d", taken.content),)), where
    )
    assert receipt.missing == (taken.content.digest,) and receipt.failure is None
    assert not (tmp_path / "ran").exists()


def test_a_manifest_that_leads_astray_is_an_error_and_nothing_is_uploaded_for_it(
    where: Location, shop: Store
) -> None:
    data = b'[{"md5": "%s", "relpath": "../x"}]' % (b"0" * 32)
    digest = hashlib.md5(data).hexdigest() + ".dir"
    shop.put(object_key(digest), data)
    receipt = run(lambda payload, paths: None, job((Dep("d", "d", Content(digest, 1, 1)),)), where)
    assert receipt.missing == () and receipt.failure is not None
    assert "is not a path below the directory" in receipt.failure.summary


class Leaves:
    """Leaves a file open: in what it holds, and in a frame of what it raises, which is part of a cycle."""

    def __init__(self, error: bool) -> None:
        self.error = error
        self.kept: list[Any] = []

    def __call__(self, payload: bytes, paths: Paths) -> None:
        self.kept += [open(f"{paths.workspace}/kept", "w"), self]  # noqa: SIM115  a cycle, too
        self.kept[0].write("kept")
        if self.error:
            local = open(f"{paths.workspace}/local", "w")  # noqa: SIM115
            local.write("local")
            try:
                raise KeyError
            except KeyError as exc:
                found = exc  # noqa: F841  as Hydra's JobReturn holds it
                raise

    def forget(self) -> None:
        self.kept.clear()


@pytest.mark.parametrize("error", [False, True])
def test_what_a_job_leaves_open_is_written_before_its_outs_leave(
    error: bool, where: Location, shop: Store, tmp_path: Path, hashes: HashCache
) -> None:
    one = job(outs=(Out("w", "run", directory=True),), has_workspace=True)
    gc.disable()
    try:
        receipt = run(Leaves(error), one, where)
    finally:
        gc.enable()
    assert (receipt.failure is not None) == error
    pull(receipt.outs[0], tmp_path / "home", shop, hashes, NoProgress())
    local = {"local": b"local"} if error else {}
    assert read(tmp_path / "home") == {"kept": b"kept", **local}
