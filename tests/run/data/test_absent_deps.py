"""Deps that are not here and that the real dvc tracks: from the store, from DVC's cache, or an error."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import dvc_repositories
import pytest
from dvc_repositories import Dvc
from trees import QUIET, read, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.core.errors import InputError
from ray_decorator.core.values.model import PathSlot
from ray_decorator.dvc.tracked.outputs import Outputs
from ray_decorator.run.data.absent_deps import AbsentDeps
from ray_decorator.run.data.staging import Staging
from ray_decorator.store.identity import locate
from ray_decorator.store.store import open_store
from ray_decorator.store.transfer import Snapshot, push

FILES = {"a": b"1", "sub/b": b"22", "sub/c d": b"333"}


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("pushed")
    root = dvc_repositories.init(base / "repository")
    tree(root / "data", FILES)
    (root / "single.bin").write_bytes(b"single")
    dvc_repositories.add(root, "data", "single.bin")
    dvc_repositories.push_all(root, base / "store")
    shutil.rmtree(root / "data")
    (root / "single.bin").unlink()
    return base


@pytest.fixture
def root(pushed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with data that was added and pushed, and that is not in the workspace any more."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(pushed, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "repository")
    return tmp_path / "repository"


@pytest.fixture
def staging(tmp_path: Path, root: Path) -> Staging:
    return Staging((tmp_path / "store").as_uri(), "driver")


def taken(staging: Staging, path: Path) -> Snapshot:
    slot = PathSlot.at((0,), "data.path", path)
    found = staging.hash([slot], QUIET)[slot.real]
    if isinstance(found, InputError):
        raise found
    return found


def fetched(staging: Staging, one: Snapshot, to: Path) -> dict[str, bytes] | bytes:
    [pulled] = staging.pull_all([(one.content, to)], QUIET)
    assert pulled.error is None
    return read(to) if to.is_dir() else to.read_bytes()


def clear_cache(root: Path) -> None:
    shutil.rmtree(root / ".dvc" / "cache")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("data", FILES),
        ("data/sub", {"b": b"22", "c d": b"333"}),
        ("data/sub/b", b"22"),
        ("single.bin", b"single"),
    ],
)
@pytest.mark.parametrize("where", ["store", "cache", "both"])
def test_what_it_held_is_taken_by_its_digest(
    root: Path,
    staging: Staging,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    expected: dict[str, bytes] | bytes,
    where: str,
) -> None:
    if where == "store":
        clear_cache(root)
    if where == "cache":
        shutil.rmtree(tmp_path / "store")
    with caplog.at_level(logging.INFO):
        one = taken(staging, root / name)
        sent = staging.push([one], QUIET)
    assert (sent == [0]) == (where != "cache")
    assert fetched(staging, one, tmp_path / "back") == expected
    [line] = [message for message in caplog.messages if "is not here" in message]
    source = "single.bin.dvc" if name == "single.bin" else "data.dvc"
    assert line.startswith(f"deps key 'data.path': {name} is not here; as {source} tracks it, ")
    assert ("jobs fetch it there" in line) == (where != "cache")
    assert ("it is uploaded from there" in line) == (where == "cache")
    taken(staging, root / name)  # nor is it said again
    assert not (root / name).exists()


def test_nobody_has_it(root: Path, staging: Staging, tmp_path: Path) -> None:
    clear_cache(root)
    shutil.rmtree(tmp_path / "store")
    for name, pull in (("data", "data"), ("data/sub", "data"), ("single.bin", "single.bin")):
        with pytest.raises(
            InputError, match=rf"{name}: is not here; .* has all of it\. Run `dvc pull {pull}`"
        ):
            taken(staging, root / name)


def test_a_cache_that_lacks_a_file_is_not_enough(root: Path, staging: Staging, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store")
    next(p for p in (root / ".dvc" / "cache").rglob("*") if p.is_file() and p.read_bytes() == b"22").unlink()
    with pytest.raises(InputError, match="Run `dvc pull data`"):
        taken(staging, root / "data")


def test_a_spoilt_object_of_the_cache_is_not_sent(root: Path, staging: Staging, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store")
    [spoilt] = [p for p in (root / ".dvc" / "cache").rglob("*") if p.is_file() and p.read_bytes() == b"22"]
    spoilt.chmod(0o644)
    spoilt.write_bytes(b"xx")
    one = taken(staging, root / "data")
    with pytest.raises(InputError, match="changed"):
        staging.push([one], QUIET)


def test_what_the_store_loses_meanwhile_is_an_error_that_names_file_key_and_cure(
    root: Path, staging: Staging
) -> None:
    one = taken(staging, root / "data")
    staging.push([one], QUIET)
    with pytest.raises(InputError) as lost:
        staging.reupload([one], staging.reuploads([one]), [one.content.digest], QUIET)
    assert f"deps key 'data.path': {root}/data is not here, and file://" in str(lost.value)
    assert "tracked by data.dvc). Run `dvc pull data`" in str(lost.value)


def test_a_remote_of_its_own_is_named(root: Path, tmp_path: Path) -> None:
    clear_cache(root)
    (root / "data.dvc").write_text((root / "data.dvc").read_text().rstrip() + "\n  remote: other\n")
    with pytest.raises(InputError, match="s3_base_path=dvc://other would let jobs fetch it there"):
        taken(Staging((tmp_path / "elsewhere").as_uri(), "driver"), root / "data")
    one = taken(Staging((tmp_path / "store").as_uri(), "driver"), root / "data")
    assert one.content.files == 3


def test_what_is_not_in_the_directory_or_not_tracked(root: Path, staging: Staging) -> None:
    with pytest.raises(InputError, match=r"data/absent: is not in .*/data as .*data\.dvc has it"):
        taken(staging, root / "data" / "absent")
    with pytest.raises(InputError, match=r"single\.bin/x: .* is a file"):
        taken(staging, root / "single.bin" / "x")
    with pytest.raises(InputError, match="there is no such file or directory"):
        taken(staging, root / "other")


def test_what_dvc_2_wrote(root: Path, staging: Staging) -> None:
    text = (root / "data.dvc").read_text().replace("  hash: md5\n", "")
    (root / "data.dvc").write_text(text)
    with pytest.raises(InputError, match=r"as DVC 2 wrote it.*dvc cache migrate"):
        taken(staging, root / "data")


def test_a_link_into_a_cache_that_is_gone(root: Path, staging: Staging) -> None:
    (root / "single.bin").symlink_to(root / ".dvc" / "cache" / "files" / "md5" / "ab" / "cdef")
    assert taken(staging, root / "single.bin").content.files == 1


def test_a_directory_that_lacks_files_is_homes_version_and_one_warning_says_so(
    dvc: Dvc, root: Path, staging: Staging, caplog: pytest.LogCaptureFixture
) -> None:
    dvc(root, "checkout")
    assert taken(staging, root / "data").content.files == 3
    assert caplog.messages == []
    (root / "data" / "sub" / "b").unlink()
    for _ in range(2):
        assert taken(staging, root / "data").content.files == 2
    [warning] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "data lacks 1 file(s) that DVC tracks; jobs get it as it is here. `dvc checkout`" in warning
    assert "`dvc pull data`" in warning


def test_dvc_files_inside_of_a_directory_count_too(
    root: Path, staging: Staging, caplog: pytest.LogCaptureFixture
) -> None:
    tree(root / "many", {"x": b"1", "sub/y": b"2", "sub/z": b"3"})
    dvc_repositories.add(root, "many/sub/y", "many/x")
    (root / "many" / "sub" / "y").unlink()
    (root / "many" / "x").unlink()
    taken(staging, root / "many")
    assert "many lacks 2 file(s) that DVC tracks" in caplog.text


def test_one_head_is_enough(root: Path, tmp_path: Path, hashes: HashCache) -> None:
    """Of a directory that the store holds nothing is read: its objects might be spoilt."""
    clear_cache(root)
    store = open_store(locate((tmp_path / "store").as_uri()))
    slot = PathSlot.at((0,), "data.path", root / "data")
    for file in (tmp_path / "store").rglob("*"):
        if file.is_file():
            file.chmod(0o644)
            file.write_bytes(b"spoilt")
    one = AbsentDeps(lambda: store, hashes, set(), Outputs()).take(slot)
    assert one is not None and (one.content.files, one.content.size) == (3, 6)
    assert push(one, store, hashes, QUIET) == 0


@pytest.mark.parametrize("where", ["store", "cache"])
def test_a_file_that_can_be_run_can_be_run(root: Path, staging: Staging, tmp_path: Path, where: str) -> None:
    if where == "cache":
        shutil.rmtree(tmp_path / "store")
    (root / "single.bin.dvc").write_text(
        (root / "single.bin.dvc").read_text().rstrip() + "\n  isexec: true\n"
    )
    one = taken(staging, root / "single.bin")
    staging.push([one], QUIET)
    assert fetched(staging, one, tmp_path / "back") == b"single"
    assert os.access(tmp_path / "back", os.X_OK)


def test_what_dvc_has_never_fetched(root: Path, staging: Staging) -> None:
    (root / "far.dvc").write_text(
        "deps: [{path: 'https://example.org/far'}]\nouts: [{path: far, hash: md5}]\n"
    )
    with pytest.raises(
        InputError, match=r"far: is not here, and far\.dvc does not say.*`dvc update far\.dvc`"
    ):
        taken(staging, root / "far")
