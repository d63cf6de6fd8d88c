"""`ray-s3 clean` shows sizes first, asks, and removes what was shown; see also the tests of the modules `ours`."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import pytest
from trees import read, tree

from ray_decorator.__main__ import main
from ray_decorator.cluster.connecting import connection
from ray_decorator.content.hashes.hash_cache import HashCache, default_path
from ray_decorator.doctor import clean


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with something of ours, and a project on it. What other tests leave in /tmp is not looked at."""
    monkeypatch.setattr("ray_decorator.job.disk.sockets._SHORT", str(tmp_path))
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "node"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tree(tmp_path / "project", {"mine": b"mine"}))
    entry = tree(tmp_path / "node" / "cache", {"files/ab/c": b"c" * 50_000})
    for path in (entry, entry.parent):
        path.chmod(0o700)
    return tmp_path


def answered(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "what\n"])
def test_without_a_yes_nothing_is_removed(
    answer: str, machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read(machine / "node" / "cache")
    answered(monkeypatch, answer)
    assert main(["clean"]) == 1
    out = capsys.readouterr().out
    assert f"    53 kB  {machine}/node/cache  files that jobs have read (1)\nRemove 53 kB? [y/N] " in out
    assert out.endswith("nothing was removed; --yes removes without asking\n")
    assert read(machine / "node" / "cache") == before


@pytest.mark.parametrize(("options", "answer"), [([], "y\n"), (["--yes"], "")])
def test_with_a_yes_all_that_was_shown_is(
    options: list[str], answer: str, machine: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    answered(monkeypatch, answer)
    assert main(["clean", *options]) == 0
    assert capsys.readouterr().out.endswith("removed 53 kB\n")
    assert read(machine / "node" / "cache") == {} and read(machine / "project") == {"mine": b"mine"}
    assert main(["clean"]) == 0
    assert capsys.readouterr().out.endswith(": nothing of ours\nthere is nothing to remove\n")


def test_the_store_alone_and_only_what_is_old(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = "ab" + "c" * 30
    store = tree(
        machine / "store", {f"ray_s3/code/files/md5/ab/{'c' * 30}": b"c" * 2000, "files/md5/ab/d": b"d"}
    )
    hashes = HashCache(default_path())
    place = f"{store.as_uri()}/ray_s3/code"
    hashes.remember(place, [digest])
    command = ["clean", "--store", f"s3_base_path={store.as_uri()}", "--yes"]
    assert main(command) == 0
    assert (
        "      0 B  code  0 objects to remove, of 1 (2.0 kB)\nthere is nothing to remove"
        in capsys.readouterr().out
    )
    monkeypatch.setattr(clean.time, "time", lambda: 4e9)
    assert main([*command, "--older-than", "8w"]) == 0
    assert capsys.readouterr().out == (
        f"{store.as_uri()}/ray_s3/:\n   2.0 kB  code  1 objects to remove, of 1 (2.0 kB)\nremoved 2.0 kB\n"
    )
    assert read(store) == {"files/md5/ab/d": b"d"} and read(machine / "node" / "cache")
    assert hashes.known(place, [digest]) == set()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--store", "--older-than", "soon"],
            "--older-than is 'soon'; expected an hour or more, such as 12h, 30d",
        ),
        (["--older-than", "0d"], "--older-than is '0d'; expected an hour or more"),
        (["--store", "s3_base_pth=x"], "Could not override 's3_base_pth'"),
        (["--store", "s3_base_path=file:///proc/no"], "/proc/no"),
    ],
)
def test_what_cannot_be_is_told(
    arguments: list[str], message: str, machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["clean", "--yes", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert read(machine / "node" / "cache")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["clean", "--help"])
    assert caught.value.code == 0 and "nothing but what\nis below ray_s3/" in capsys.readouterr().out


@pytest.mark.ray
def test_the_nodes(
    ray_session: str, session_caches: Path, capsys: pytest.CaptureFixture[str], machine: Path
) -> None:
    shutil.rmtree(session_caches / "node" / "kept", ignore_errors=True)  # of this process's other tests
    kept = tree(session_caches / "node" / "kept", {"of this test/model": b"m" * 50_000})
    for path in (kept.parent, kept):
        path.chmod(0o700)
    assert main(["clean", "--nodes", "--kept", "--yes"]) == 0
    out = capsys.readouterr().out
    assert f"  {kept}  outs that could not come home (1)" in out and out.startswith("node ")
    assert not any(kept.iterdir()) and read(machine / "node" / "cache")


def test_no_cluster_is_started_to_be_cleaned(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "is_connected", lambda: False)
    assert main(["clean", "--nodes"]) == 1
    assert "--nodes: no cluster is named. Set ray_address or RAY_ADDRESS" in capsys.readouterr().err
