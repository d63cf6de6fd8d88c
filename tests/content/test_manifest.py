"""Our layout is a DVC remote's, both ways, shown with the real dvc; and manifests that lie are refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.manifest import Row, digest_of_key, dump, load, md5_of_file, object_key
from ray_decorator.core.errors import CorruptObjectError
from ray_decorator.core.progress import NoProgress
from ray_decorator.store.identity import locate
from ray_decorator.store.store import open_store
from ray_decorator.store.transfer import push, snapshot

A = hashlib.md5(b"a").hexdigest()
B = hashlib.md5(b"b").hexdigest()


def test_keys() -> None:
    assert object_key(A) == f"files/md5/{A[:2]}/{A[2:]}"
    assert digest_of_key(object_key(A + ".dir")) == A + ".dir"


def test_md5_of_a_file(tmp_path: Path) -> None:
    data = os.urandom(3_000_001)
    (tmp_path / "f").write_bytes(data)
    assert md5_of_file(tmp_path / "f") == hashlib.md5(data).hexdigest()


def test_a_manifest_is_canonical_whatever_the_order() -> None:
    digest, data = dump([Row("b/ü", B), Row("a", A)])
    assert data == f'[{{"md5": "{A}", "relpath": "a"}}, {{"md5": "{B}", "relpath": "b/\\u00fc"}}]'.encode()
    assert digest == hashlib.md5(data).hexdigest() + ".dir"
    assert load(data, digest) == (Row("a", A), Row("b/ü", B))


@pytest.mark.parametrize(
    "name", ["a b", "new\nline", "ünï", os.fsdecode(b"not\xffutf8"), "back\\slash", "..."]
)
def test_any_name_a_file_can_have(name: str) -> None:
    digest, data = dump([Row(name, A)])
    assert load(data, digest) == (Row(name, A),)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{"md5": A, "relpath": "/etc/passwd"}], "'/etc/passwd' is not a path below the directory"),
        ([{"md5": A, "relpath": "../up"}], "'../up' is not a path below"),
        ([{"md5": A, "relpath": "a/../../up"}], "is not a path below"),
        ([{"md5": A, "relpath": "a//b"}], "is not a path below"),
        ([{"md5": A, "relpath": ""}], "is not a path below"),
        ([{"md5": A, "relpath": "."}], "is not a path below"),
        ([{"md5": A, "relpath": "a\0b"}], "is not a path below"),
        ([{"md5": A, "relpath": "\ud800"}], "is no name that a file can have"),
        ([{"md5": A, "relpath": 7}], "7 is not a path below"),
        ([{"md5": A, "relpath": "a"}, {"md5": B, "relpath": "a"}], "a path is listed twice"),
        (
            [{"md5": A, "relpath": "a"}, {"md5": B, "relpath": "a/b/c"}],
            "'a' is listed both as a file and as a dir",
        ),
        ([{"md5": A + ".dir", "relpath": "a"}], "is not an md5 of 32 hex digits"),
        ([{"md5": A.upper(), "relpath": "a"}], "is not an md5"),
        ([{"md5": "../../../../../../etc/passwd0000", "relpath": "a"}], "is not an md5"),
        ([{"relpath": "a"}], "expected a row with md5 and relpath, found {"),
        (["a"], "expected a row with md5 and relpath, found 'a'"),
        ([[{"md5": A, "relpath": "a"}]], "expected a row with md5 and relpath, found [Row("),
        ([{"md5": A, "relpath": "a/" * 9999}], "…"),
        ({"a": 1}, "expected a list of rows, found dict"),
    ],
)
def test_what_a_store_may_not_make_us_write(rows: object, complaint: str) -> None:
    data = json.dumps(rows).encode()
    digest = hashlib.md5(data).hexdigest() + ".dir"
    with pytest.raises(CorruptObjectError) as info:
        load(data, digest)
    assert complaint in str(info.value)
    assert object_key(digest) in str(info.value)


@pytest.mark.parametrize("data", [b"not json", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(CorruptObjectError, match="is not acceptable"):
        load(data, hashlib.md5(data).hexdigest() + ".dir")


def test_bytes_that_are_not_what_the_name_says() -> None:
    with pytest.raises(CorruptObjectError, match="its bytes do not hash to its name"):
        load(b"[]", A + ".dir")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A dvc project with a directory that has a bit of everything, and a remote in a directory."""
    project = tmp_path / "project"
    data = project / "data"
    (data / "sub" / "deep").mkdir(parents=True)
    (data / "empty").mkdir()
    (data / ".git").mkdir()
    (data / ".git" / "HEAD").write_text("not data")
    (data / "sub" / ".hg").mkdir()
    (data / "sub" / ".hg" / "store").write_text("not data")
    (data / "a b.txt").write_text("a")
    (data / "sub" / "ü\n.bin").write_bytes(bytes(range(256)))
    (data / "sub" / "deep" / "zero").write_bytes(b"")
    (data / "run.sh").write_text("#!/bin/sh\n")
    (data / "run.sh").chmod(0o755)
    (data / "link").symlink_to("a b.txt")
    (data / "sub-dir").symlink_to("sub")
    (project / "one.bin").write_bytes(b"x" * 100_000)
    dvc(project, "init", "--no-scm", "-q")
    dvc(project, "remote", "add", "-d", "store", str(tmp_path / "remote"))
    return project


def dvc(project: Path, *arguments: str) -> str:
    program = os.path.join(os.path.dirname(sys.executable), "dvc")
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run([program, *arguments], cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def objects(directory: Path) -> dict[str, bytes]:
    files = (path for path in (directory / "files").rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


@pytest.mark.app
def test_what_was_dvc_pushed_needs_no_upload(project: Path, tmp_path: Path, hashes: HashCache) -> None:
    dvc(project, "add", "-q", "data", "one.bin")
    dvc(project, "push", "-q")
    store = open_store(locate((tmp_path / "remote").as_uri()))
    for name in ("data", "one.bin"):
        taken = snapshot(project / name, hashes, NoProgress())
        assert f"md5: {taken.content.digest}\n" in (project / f"{name}.dvc").read_text()
        assert push(taken, store, hashes, NoProgress()) == 0


@pytest.mark.app
def test_our_objects_are_dvcs_byte_for_byte(project: Path, tmp_path: Path, hashes: HashCache) -> None:
    ours = open_store(locate((tmp_path / "ours").as_uri()))
    for name in ("data", "one.bin"):
        push(snapshot(project / name, hashes, NoProgress()), ours, hashes, NoProgress())
    dvc(project, "add", "-q", "data", "one.bin")
    dvc(project, "push", "-q")
    assert objects(tmp_path / "ours") == objects(tmp_path / "remote")


@pytest.mark.app
def test_what_we_pushed_dvc_pulls(project: Path, tmp_path: Path, hashes: HashCache) -> None:
    store = open_store(locate((tmp_path / "remote").as_uri()))
    push(snapshot(project / "data", hashes, NoProgress()), store, hashes, NoProgress())
    dvc(project, "add", "-q", "data")
    shutil.rmtree(project / "data")
    shutil.rmtree(project / ".dvc" / "cache")
    dvc(project, "pull", "-q")
    assert (project / "data" / "sub" / "ü\n.bin").read_bytes() == bytes(range(256))
    assert (project / "data" / "link").read_text() == "a"
    assert not (project / "data" / ".git").exists()
