"""Sweeps whose data goes through real S3 servers, and what a store does wrong."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import socket
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import servers
from omegaconf import DictConfig
from store_fixtures import use
from sweeps import sweep

from ray_decorator.core.errors import (
    BucketNotFoundError,
    MissingObjectError,
    StoreDeniedError,
    StoreUnreachableError,
)
from ray_decorator.store.identity import locate
from ray_decorator.store.store import Store, open_store

pytestmark = pytest.mark.usefixtures("ray_session")

CONFIG = {"x": 1, "data": {"path": "data"}, "out": "outs/${x}"}


@pytest.fixture(params=["rclone", "moto"])
def server(request: pytest.FixtureRequest) -> servers.Server:
    found: servers.Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that the app is started in, with a tree of 30 files."""
    for number in range(30):
        file = tmp_path / "data" / f"{number % 3}" / f"{number} ü.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"{tmp_path} {number}".encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def copy_tree(cfg: DictConfig) -> int:
    shutil.copytree(cfg.data.path, cfg.out)
    return sum(1 for path in Path(cfg.out).rglob("*") if path.is_file())


def copy_and_add(cfg: DictConfig) -> int:
    copied = copy_tree(cfg)
    (Path(cfg.out) / "made").write_bytes(b"made of %d" % cfg.x)
    return copied


def base(prefix: str = "") -> str:
    return f"s3://{servers.BUCKET}/{prefix or uuid.uuid4().hex}"


def same(one: Path, other: Path) -> bool:
    def content(root: Path) -> dict[str, bytes]:
        return {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()}

    return content(one) == content(other)


def test_a_sweep_through_s3(home: Path, server: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    use(server, monkeypatch)
    jobs = sweep(CONFIG, copy_tree, ["x=1,2,3"], deps=["data.path"], outs=["out"], s3_base_path=base())
    assert [job.return_value for job in jobs] == [30, 30, 30]
    for number in (1, 2, 3):
        assert same(home / "data", home / "outs" / str(number))


def test_a_dep_of_many_jobs_goes_up_once_and_down_once(
    home: Path, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.counting(rclone) as (proxy, requests):
        use(proxy, monkeypatch)
        jobs = sweep(
            CONFIG, count, [f"x={','.join(map(str, range(20)))}"], deps=["data.path"], s3_base_path=base()
        )
        assert [job.return_value for job in jobs] == [30] * 20
        up, down = requests.paths("PUT"), requests.paths("GET")
        assert len([path for path in up if "/files/md5/" in path]) == 31
        assert len([path for path in down if "/files/md5/" in path]) == 31


def count(cfg: DictConfig) -> int:
    return sum(1 for path in Path(cfg.data.path).rglob("*") if path.is_file())


def test_a_store_that_lost_objects_is_healed_with_one_warning(
    home: Path,
    server: servers.Server,
    monkeypatch: pytest.MonkeyPatch,
    session_caches: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    use(server, monkeypatch)
    url = base()
    arguments: dict[str, Any] = {"deps": ["data.path"], "s3_base_path": url}
    sweep(CONFIG, count, [], **arguments)
    store = open_store(locate(url))
    gone = [key for page in store.list("files/md5/") for key, _ in page][::2]
    for key in gone:
        store.delete(key)
    shutil.rmtree(session_caches / "node" / "cache")
    capfd.readouterr()
    jobs = sweep(CONFIG, count, ["x=1,2,3,4"], **arguments)
    assert [job.return_value for job in jobs] == [30] * 4
    shown = "".join(capfd.readouterr())
    assert shown.count("no longer holds") == 1
    assert set(gone) <= {key for page in store.list("files/md5/") for key, _ in page}


def test_objects_that_are_lost_while_a_job_reads_them_are_healed(
    home: Path, moto: servers.Server, monkeypatch: pytest.MonkeyPatch, session_caches: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The answer is cut, and when it is asked for again, the object is gone."""
    use(moto, monkeypatch)
    url, digest = base(), hashlib.md5((home / "data" / "0" / "0 ü.bin").read_bytes()).hexdigest()
    store, asked = open_store(locate(url)), list[str]()

    def lost(verb: str, path: str) -> servers.Fault | None:
        if verb != "GET" or digest[2:] not in path:
            return None
        asked.append(path)
        if len(asked) == 2:
            store.delete(f"files/md5/{digest[:2]}/{digest[2:]}")
        return "cut" if len(asked) == 1 else None

    with servers.counting(moto, fault=lost) as (proxy, _):
        use(proxy, monkeypatch)
        [job] = sweep(CONFIG, count, [], deps=["data.path"], s3_base_path=url)
    assert job.return_value == 30 and len(asked) == 3
    shown = "".join(capfd.readouterr())
    assert shown.count("no longer holds") == 1 and "0/0 ü.bin (deps key 'data.path', files/md5/" in shown


def spoil(store: Store, how: str) -> None:
    """Lose all objects, or give them other bytes."""
    for key, size in [row for page in store.list("files/md5/") for row in page]:
        if how == "lost":
            store.delete(key)
        else:
            store.put(key, b"x" * (size + (how == "another size")))


@pytest.mark.parametrize("how", ["lost", "the same size", "another size"])
def test_outs_that_the_store_lost_or_spoilt_come_home_again(
    home: Path, server: servers.Server, monkeypatch: pytest.MonkeyPatch, session_caches: Path, how: str,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    use(server, monkeypatch)
    url = base()
    arguments: dict[str, Any] = {"deps": ["data.path"], "outs": ["out"], "s3_base_path": url}
    sweep(CONFIG, copy_and_add, ["x=1,2"], **arguments)
    spoil(open_store(locate(url)), how)
    for folder in ("cache", "idle"):
        shutil.rmtree(session_caches / "node" / folder, ignore_errors=True)
    shutil.rmtree(home / "outs")
    capfd.readouterr()
    jobs = sweep(CONFIG, copy_and_add, ["x=1,2"], **arguments)
    assert [job.return_value for job in jobs] == [30, 30]
    for number in (1, 2):
        made = home / "outs" / str(number) / "made"
        assert made.read_bytes() == b"made of %d" % number
        made.unlink()
        assert same(home / "data", home / "outs" / str(number))
    shown = "".join(capfd.readouterr())
    assert shown.count("no longer holds") == 1
    assert f"{home}/data" in shown and "(deps key 'data.path', files/md5/" in shown
    assert shown.count("outs key 'out', made (files/md5/") == (0 if how == "lost" else 2), (
        "each is named once"
    )


def test_an_out_that_is_lost_before_it_is_home_is_named_with_file_and_key(
    home: Path, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(rclone, monkeypatch)
    url, digest = base(), hashlib.md5(b"all there is").hexdigest()
    key, store = f"files/md5/{digest[:2]}/{digest[2:]}", open_store(locate(url))

    def lost_when_asked_for(verb: str, path: str) -> None:
        if verb == "GET" and key in path:
            store.delete(key)

    with servers.counting(rclone, fault=lost_when_asked_for) as (proxy, _):
        use(proxy, monkeypatch)
        with pytest.raises(MissingObjectError) as info:
            [job] = sweep(CONFIG, write_one, [], outs=["out"], s3_base_path=url)
            job.return_value  # noqa: B018
    assert f"outs key 'out', deep/only.bin ({key})" in str(info.value)


def write_one(cfg: DictConfig) -> None:
    (Path(cfg.out) / "deep").mkdir(parents=True)
    (Path(cfg.out) / "deep" / "only.bin").write_bytes(b"all there is")


def look_and_spoil(cfg: DictConfig) -> str:
    """What the job finds; then it does to it whatever leaves as few traces as can be."""
    files = sorted(path for path in Path(cfg.data.path).rglob("*") if path.is_file())
    found = hashlib.md5(b"".join(path.read_bytes() for path in files)).hexdigest()
    for path in files[:3]:
        times = path.stat()
        path.chmod(0o644)
        with open(path, "r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
            mapped[:1] = bytes([mapped[0] ^ 1])
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        path.chmod(0o444)
    return found


@pytest.mark.parametrize("count", [30, 150], ids=["copied", "kept as a checkout"])
def test_no_job_reads_what_another_one_wrote(
    home: Path, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    use(rclone, monkeypatch)
    for number in range(count):
        (home / "data" / f"more {number}").write_bytes(os.urandom(5000))
    jobs = sweep(
        CONFIG, look_and_spoil, ["x=1,2,3,4,5,6"], deps=["data.path"], s3_base_path=base(), max_concurrent=1
    )
    files = sorted(path for path in (home / "data").rglob("*") if path.is_file())
    right = hashlib.md5(b"".join(path.read_bytes() for path in files)).hexdigest()
    assert [job.return_value for job in jobs] == [right] * 6


def test_a_bucket_that_does_not_exist(
    home: Path, server: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(server, monkeypatch)
    with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
        sweep(CONFIG, count, [], deps=["data.path"], s3_base_path="s3://no-such-bucket/prefix")


def test_wrong_credentials(home: Path, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    use(rclone, monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(StoreDeniedError) as caught:
        sweep(CONFIG, count, [], deps=["data.path"], s3_base_path=base())
    assert "not-the-secret" not in str(caught.value)


def test_an_endpoint_where_nobody_answers(
    home: Path, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(rclone, monkeypatch)
    with socket.socket() as bound:  # bound, but not listening: refused, and nobody else's
        bound.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        started = time.monotonic()
        with pytest.raises(StoreUnreachableError, match=endpoint):
            sweep(CONFIG, count, [], deps=["data.path"], s3_base_path=base())
        assert time.monotonic() - started < 10


def test_the_secret_is_in_nothing_that_the_job_or_home_shows(
    home: Path, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    use(rclone, monkeypatch)
    secret = rclone.environment()["AWS_SECRET_ACCESS_KEY"]
    [job] = sweep(CONFIG, environment, [], deps=["data.path"], s3_base_path=base(), outs=["out"])
    assert secret not in job.return_value
    shown = "".join(capfd.readouterr())
    assert secret not in shown
    for file in (home / "sweep").rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes()


def environment(cfg: DictConfig) -> str:
    Path(cfg.out).mkdir(parents=True)
    import os

    return repr(dict(os.environ))
