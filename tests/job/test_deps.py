"""Deps that are at home only, and where each of them is read."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from trees import QUIET, read, tree

from ray_decorator.content.hashes.hash_cache import HashCache, Stamp
from ray_decorator.core.errors import InputError
from ray_decorator.core.machine.this_machine import path_id
from ray_decorator.core.values.model import Dep, Job, Out
from ray_decorator.job import deps
from ray_decorator.job.deps import NoContent, stage_deps
from ray_decorator.job.disk.scratch import Scratch, open_scratch
from ray_decorator.job.side import Side
from ray_decorator.store.identity import locate
from ray_decorator.store.store import open_store
from ray_decorator.store.transfer import push, snapshot

pytestmark = pytest.mark.usefixtures("node")


def job(*deps: Dep) -> Job:
    return Job("j", "#0", b"", deps, (), False, "/", (), os.getuid())


def staged(
    tmp_path: Path, one: Job, outs: list[Path], *, at_home: bool
) -> tuple[list[Path], dict[str, Stamp]]:
    side = Side(locate((tmp_path / "store").as_uri()), None, at_home)
    copied: dict[str, Stamp] = {}
    with open_scratch("j") as scratch:
        paths, received = stage_deps(one, outs, scratch, side, copied)
    assert received == 0
    return paths, copied


def test_one_that_is_read_is_read_where_it_lies(tmp_path: Path) -> None:
    data = tree(tmp_path / "data", {"a": b"1"})
    paths, copied = staged(tmp_path, job(Dep("d", "data", None, home=path_id(data))), [], at_home=True)
    assert (paths, copied) == ([data], {})


def test_one_that_is_written_to_is_copied_first(tmp_path: Path) -> None:
    data, out = tree(tmp_path / "data", {"a": b"1"}), tmp_path / "out"
    dep = Dep("d", "data", None, home=path_id(data), inside=(0, "below"))
    paths, copied = staged(tmp_path, job(dep), [out], at_home=True)
    assert paths == [out / "below"] and read(out / "below") == {"a": b"1"}
    assert len(copied) == 1


def test_elsewhere_one_that_no_store_has_is_asked_for(tmp_path: Path) -> None:
    data = tree(tmp_path / "data", {"a": b"1"})
    with pytest.raises(NoContent):
        staged(tmp_path, job(Dep("d", "data", None, home=path_id(data))), [], at_home=False)


def test_where_the_job_works_at_home_what_is_right_there_stays_as_it_is(
    tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As DVC's links into its cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "known"))
    cached = tree(tmp_path / "cached", {"a": b"1"}) / "a"
    home = tree(tmp_path / "home", {"in/b": b"22"})
    (home / "in" / "a").hardlink_to(cached)
    store = open_store(locate((tmp_path / "store").as_uri()))
    taken = snapshot(home / "in", hashes, QUIET)
    push(taken, store, hashes, QUIET)
    (home / "in" / "b").write_bytes(b"changed since")
    out = Out("o", "home", in_place=path_id(home))
    one = replace(job(Dep("d", "in", taken.content, inside=(0, "in"))), outs=(out,))
    side = Side(locate((tmp_path / "store").as_uri()), None, True)
    (tmp_path / "known" / "ray_s3").mkdir(parents=True)
    (tmp_path / "known" / "ray_s3").chmod(0o777)
    with (
        open_scratch("j") as scratch,
        pytest.raises(InputError, match=r"known/ray_s3\b.* can be written to by others"),
    ):
        stage_deps(one, [home], scratch, side, {})
    (tmp_path / "known" / "ray_s3").chmod(0o755)
    with open_scratch("j") as scratch:
        paths, _ = stage_deps(one, [home], scratch, side, {})
    assert paths == [home / "in"] and read(home / "in") == {"a": b"1", "b": b"22"}
    assert (home / "in" / "a").samefile(cached)


def test_fetching_that_takes_a_while_is_told_of(
    tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_store(locate((tmp_path / "store").as_uri()))
    taken = snapshot(tree(tmp_path / "home", {"a": b"1" * 3000}), hashes, QUIET)
    push(taken, store, hashes, QUIET)
    one = job(Dep("d", "in", taken.content))
    side = Side(locate((tmp_path / "store").as_uri()), None, False)
    borrow = Scratch.borrow
    monkeypatch.setattr(Scratch, "borrow", lambda *given: (time.sleep(0.5), borrow(*given))[1])
    for seconds in (60.0, 0.01):
        monkeypatch.setattr(deps, "_SAY_SECONDS", seconds)
        with open_scratch("j") as scratch:
            stage_deps(one, [], scratch, side, {})
        said = capsys.readouterr().err
        assert said == ("" if seconds > 1 else f"ray-s3: fetching 3.0 kB of deps to {socket.gethostname()}\n")
