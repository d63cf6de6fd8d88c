"""Home is full, read-only, or cannot hold a name: the run goes on, and each out that cannot come is named."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from disks import disk
from fake_cluster import FakeStore, call
from folding_disk import FoldingDisk
from omegaconf import DictConfig
from quota_disk import quota_disk
from sweeps import sweep
from trees import QUIET, read
from whole_trees import described

from ray_decorator import HomeError, ray_decorator
from ray_decorator.core.errors import InputError, StoreUnreachableError
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.model import Receipt
from ray_decorator.run.data.homecoming import bring_home

OUT = Content("0" * 31 + "a.dir", 3, 5)
FILES, SIZE = 10, 200_000
CONFIG = {"out": "somewhere"}


def came(store: FakeStore, tmp_path: Path, error: BaseException | None = None) -> BaseException | None:
    one = call("a", tmp_path)
    return bring_home(Receipt(outs={0: OUT, 1: OUT}), one.targets, store, QUIET, error)[1]


class TestWhatIsSaid:
    def test_nothing_where_all_came(self, tmp_path: Path) -> None:
        assert came(FakeStore(), tmp_path) is None

    def test_all_outs_of_a_job_that_cannot_come(self, tmp_path: Path) -> None:
        store = FakeStore(error=OSError(28, "No space left on device"), came=2)
        error = came(store, tmp_path)
        assert isinstance(error, HomeError)
        first, second = str(error).split("; outs key ")
        assert first == (
            f"2 outs did not come home: outs key 'model.path': {tmp_path}/a.pkl cannot be written (No space left "
            "on device); it is incomplete, with 2 of its 5 files. It is in the store; bring it later with: "
            f"ray-s3 fetch s3://bucket/{OUT.digest} {tmp_path}/a.pkl"
        )
        assert second.startswith(f"'hydra.sweep.subdir': {tmp_path}/a cannot be written")

    def test_a_jobs_own_error_goes_first(self, tmp_path: Path) -> None:
        error = came(FakeStore(error=OSError(30, "Read-only file system")), tmp_path, ValueError("mine"))
        assert isinstance(error, ValueError)
        assert [note.partition("(")[2][:21] for note in error.__notes__] == ["Read-only file system"] * 2

    def test_a_store_that_is_down(self, tmp_path: Path) -> None:
        error = came(FakeStore(error=StoreUnreachableError("nobody answers")), tmp_path)
        assert isinstance(
            error, HomeError
        ) and "did not come home: nobody answers. It is in the store" in str(error)

    def test_something_in_the_way_on_a_full_disk(self, tmp_path: Path) -> None:
        store = FakeStore(
            error=InputError("m: is a directory"), aside_error=OSError(28, "No space left on device")
        )
        error = came(store, tmp_path)
        assert "m: is a directory; nor beside it: [Errno 28] No space left on device. It is in the st" in str(
            error
        )


def write_tree(cfg: DictConfig) -> int:
    files = 1 if Path(cfg.out).name == "1" else FILES
    for number in range(files):
        file = Path(cfg.out) / f"{number}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes([number]) * SIZE)
    if files > 1:
        file.chmod(0o700)
        (file.parent / "empty").mkdir()
        (file.parent / "latest").symlink_to("empty")
    return files


def write_either(cfg: DictConfig) -> int:
    if Path(cfg.out).name != "file":
        return write_tree(cfg)
    return Path(cfg.out).write_bytes(b"one")


def kill_and_write(cfg: DictConfig) -> int:
    if Path(cfg.out).name == "2":
        os.kill(cfg.server, signal.SIGKILL)
    return write_tree(cfg)


def written(count: int) -> dict[str, bytes]:
    return {f"{number}.bin": bytes([number]) * SIZE for number in range(count)}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_S3_BASE_PATH", raising=False)
    return tmp_path


def fetch_as_said(line: str) -> None:
    """Run the command that a line of the run's output names."""
    command = shlex.split(line.partition("bring it later with: ")[2].partition(". Its ")[0])
    assert command[:2] == ["ray-s3", "fetch"], line
    done = subprocess.run(
        [sys.executable, "-m", "ray_decorator", *command[1:]], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")


def told(capfd: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What the run says of each failed job."""
    lines = [
        line for text in capfd.readouterr() for line in text.splitlines() if " failed: HomeError: " in line
    ]
    return {line.partition("] #")[2].partition(" ")[0]: line for line in lines}


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("named", [True, False], ids=["a store", "no store"])
class TestThroughTheLauncher:
    @pytest.mark.parametrize(
        ("broken", "mended", "reason"),
        [("size=1m", "size=64m", "No space left on device"), ("ro", "rw,size=64m", "Read-only file system")],
    )
    def test_a_disk(
        self, home: Path, named: bool, broken: str, mended: str, reason: str,
        capfd: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        url: dict[str, Any] = {"s3_base_path": (home / "store").as_uri()} if named else {}
        with disk(home / "disk", "size=1m") as at:
            (at.path / "2").mkdir()
            (at.path / "2" / "0.bin").write_bytes(b"mine")
            (at.path / "2" / "kept").write_bytes(b"mine too")
            at.remount(broken)
            with pytest.raises(HomeError, match=f"outs key 'out': .*{reason}"):
                sweep(CONFIG, write_tree, ["out=other/1,disk/2,disk/3"], outs=["out"], **url)
            said = told(capfd)
            assert set(said) == {"1", "2"} and read(home / "other" / "1") == written(1)
            for job, place in (("1", "disk/2"), ("2", "disk/3")):
                assert f"{home}/{place}" in said[job] and reason in said[job]
            if reason.startswith("No space"):
                assert re.search(
                    rf"; it is incomplete, with [1-9] of its {FILES} files\. ", "\n".join(said.values())
                )
            assert read(at.path / "2")["kept"] == b"mine too"
            assert read(at.path / "2")["0.bin"] in (b"mine", written(1)["0.bin"])
            assert list(at.path.rglob(".ray_s3*")) == []
            at.remount(mended)
            (at.path / "2" / "0.bin").unlink()
            for job in ("1", "2"):
                fetch_as_said(said[job])
            assert read(at.path / "3") == written(FILES)
            came = described(at.path / "3")
            assert came["latest"] == ("link", "empty") and came["empty"][0] == "directory"
            assert came[f"{FILES - 1}.bin"][1] == oct(0o100)
            assert {**read(at.path / "2"), **written(1)} == {**written(FILES), "kept": b"mine too"}

    def test_a_user_without_quota(self, home: Path, named: bool, capfd: pytest.CaptureFixture[str]) -> None:
        """A directory cannot be made there (a tree), or a file not be written (a single one)."""
        url: dict[str, Any] = {"s3_base_path": (home / "store").as_uri()} if named else {}
        with quota_disk(home / "disk"):
            with pytest.raises(HomeError, match=r"outs key 'out': .*Disk quota exceeded"):
                sweep(CONFIG, write_either, ["out=other/1,disk/2,disk/file"], outs=["out"], **url)
            said = told(capfd)
            assert set(said) == {"1", "2"} and read(home / "other" / "1") == written(1)
            for job, place in (("1", "disk/2"), ("2", "disk/file")):
                assert f"{home}/{place}" in said[job] and "Disk quota exceeded" in said[job]
        for line in said.values():
            fetch_as_said(line)
        assert read(home / "disk") == {
            **{f"2/{name}": data for name, data in written(FILES).items()},
            "file": b"one",
        }

    def test_a_mount_that_is_gone(
        self, home: Path, named: bool, capfd: pytest.CaptureFixture[str], folding_disk: FoldingDisk
    ) -> None:
        """Its server dies while the jobs run: whoever looks there has an error."""
        url: dict[str, Any] = {"s3_base_path": (home / "store").as_uri()} if named else {}
        config = {"out": "somewhere", "server": 0}
        with folding_disk(home / "disk") as (at, server):
            (at / "kept").write_bytes(b"mine")
            with pytest.raises(HomeError, match=r"outs key 'out': .*Transport endpoint is not connected"):
                sweep(
                    config, kill_and_write, [f"out=other/1,{at}/2", f"server={server}"], outs=["out"], **url
                )
            said = told(capfd)
            assert set(said) == {"1"} and f"{at}/2" in said["1"] and read(home / "other" / "1") == written(1)
        assert (home / "disk" / "behind" / "kept").read_bytes() == b"mine"
        fetch_as_said(said["1"])
        assert read(at / "2") == written(FILES)

    def test_a_name_that_is_too_long_for_home(
        self, home: Path, named: bool, capfd: pytest.CaptureFixture[str]
    ) -> None:
        url: dict[str, Any] = {"s3_base_path": (home / "store").as_uri()} if named else {}
        deep = "/".join(["d" * 200] * ((3900 - len(str(home))) // 201))
        config = {"x": 1, "out": f"{deep}/${{x}}", "other": "other/${x}"}
        with pytest.raises(HomeError, match=r"outs key 'out': .*File name too long"):
            sweep(config, write_long_name, [], outs=["out", "other"], **url)
        assert "bring it later with: ray-s3 fetch" in told(capfd)["0"]
        assert (home / "other" / "1").read_bytes() == b"comes"


def write_long_name(cfg: DictConfig) -> None:
    os.mkdir(cfg.out)
    for _ in range(3):
        (Path(cfg.out) / ("n" * 250)).write_bytes(b"x")
    Path(cfg.other).parent.mkdir(parents=True, exist_ok=True)
    Path(cfg.other).write_bytes(b"comes")


@ray_decorator(outs=["out"], max_concurrent=1)  # what does not fit fills the disk for a moment
def fill(out: str, size: int) -> int:
    Path(out).write_bytes(b"f" * size)
    return size


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("named", [True, False], ids=["a store", "no store"])
def test_functions_on_a_full_disk(home: Path, named: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call that fits comes home, and the others say what to do."""
    if named:
        monkeypatch.setenv("RAY_S3_BASE_PATH", (home / "store").as_uri())
    with disk(home / "disk", "size=1m") as at:
        sizes = [100, 3_000_000, 200]
        items = [(f"disk/{number}", size) for number, size in enumerate(sizes)]
        values = fill.map(items, return_exceptions=True)
        assert [values[0], values[2]] == [100, 200] and isinstance(values[1], HomeError)
        assert "outs key 'out': " in str(values[1]) and "No space left on device" in str(values[1])
        with pytest.raises(HomeError, match="No space left on device") as info:
            fill.submit("disk/3", 3_000_000).result(120)
        assert sorted(path.name for path in at.path.iterdir()) == ["0", "2"]
        at.remount("size=64m")
        fetch_as_said(str(info.value))
        assert (at.path / "3").read_bytes() == b"f" * 3_000_000
