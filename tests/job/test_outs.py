"""Where outs are written, and what comes of them: home, the store, or the node."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ray_decorator.core.machine.this_machine import path_id
from ray_decorator.core.values.model import Home, Job, Out
from ray_decorator.job.outs import bring_out, make_out_parents, out_paths
from ray_decorator.job.side import Side
from ray_decorator.store.identity import locate

pytestmark = pytest.mark.usefixtures("node")


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(locate((tmp_path / "store").as_uri()), None, True)


def job(*outs: Out) -> Job:
    return Job("j", "#0", b"", (), outs, False, "/", (), os.getuid())


def home(path: Path) -> Home:
    nearest = path_id(path.parent)
    assert nearest is not None
    return Home(str(path), nearest)


def test_each_has_a_place_of_its_own_and_one_inside_another_is_there(tmp_path: Path, side: Side) -> None:
    one = job(
        Out("a", "same"), Out("b", "same"), Out("c", "x", inside=(1, "in/x")), Out("d", "d", directory=True)
    )
    paths = out_paths(one, tmp_path, side)
    make_out_parents(one, paths)
    outs = tmp_path / "outs"
    assert paths == [outs / "0/same", outs / "1/same", outs / "1/same/in/x", outs / "3/d"]
    assert (outs / "1/same/in").is_dir() and not (outs / "0/same").exists() and (outs / "3/d").is_dir()


def test_what_is_near_goes_home_and_the_rest_to_the_store(tmp_path: Path, side: Side) -> None:
    one = job(Out("near", "near", home=home(tmp_path / "near")), Out("far", "far"), Out("none", "none"))
    paths = out_paths(one, tmp_path / "scratch", side)
    make_out_parents(one, paths)
    for path in paths[:2]:
        path.write_text(path.name)
    sent = bring_out(one, paths, side)
    assert (sent.error, sent.kept, list(sent.outs), sent.bytes) == (None, False, [1], 3)
    assert (tmp_path / "near").read_text() == "near"


def test_what_is_in_the_way_stays_and_the_other_outs_come(tmp_path: Path, side: Side) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/mine").write_text("mine")
    outs = (
        Out("model", "model", home=home(tmp_path / "model")),
        Out("log", "log", home=home(tmp_path / "log")),
    )
    paths = out_paths(job(*outs), tmp_path / "scratch", side)
    make_out_parents(job(*outs), paths)
    for path in paths:
        path.write_text(path.name)
    sent = bring_out(job(*outs), paths, side)
    assert "outs key 'model'" in str(sent.error) and not sent.kept
    assert (tmp_path / "log").read_text() == "log" and (tmp_path / "model/mine").read_text() == "mine"
    assert (tmp_path / "model.ray_s3").read_text() == "model"
