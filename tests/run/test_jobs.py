"""A call becomes a job: which paths lie in which others, and what a worker on this machine may use as it stands."""

from __future__ import annotations

import os
from pathlib import Path

from ray_decorator.core.machine.this_machine import is_same_path
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.model import Call, Job, PathSlot
from ray_decorator.run.jobs import JobMaker

CONTENT = Content("0" * 32, 1, 1)


def slot(key: str, path: Path) -> PathSlot:
    return PathSlot.at((key,), key, path)


def made(call: Call, *, embedded: bool = False, in_place: bool = True) -> Job:
    maker = JobMaker("/start", ("/start/src",), embedded, in_place)
    return maker.make(call, {} if embedded else {dep.real: CONTENT for dep in call.deps})


def call(deps: dict[str, Path], outs: dict[str, Path], workspace: Path | None = None) -> Call:
    return Call(
        b"f",
        b"p",
        tuple(slot(*item) for item in deps.items()),
        tuple(slot(*item) for item in outs.items()),
        "#0",
        None if workspace is None else slot("workspace", workspace),
    )


def test_outs_lie_in_the_outermost_one_that_holds_them(tmp_path: Path) -> None:
    root = tmp_path / "run"
    job = made(
        call(
            {}, {"model": root / "models" / "m.pkl", "models": root / "models", "free": tmp_path / "x"}, root
        )
    )
    assert [out.inside for out in job.outs] == [(3, "models/m.pkl"), (3, "models"), None, None]
    assert job.has_workspace


def test_one_path_under_two_keys(tmp_path: Path) -> None:
    job = made(call({"resume": tmp_path / "c"}, {"last": tmp_path / "c", "best": tmp_path / "c"}))
    assert [out.inside for out in job.outs] == [None, (0, ".")]
    assert job.deps[0].inside == (0, ".")


def test_a_dep_inside_an_out_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    job = made(call({"d": tmp_path / "link" / "a", "other": tmp_path / "outer"}, {"o": tmp_path / "out"}))
    assert [dep.inside for dep in job.deps] == [(0, "a"), None]


def test_with_a_store_nothing_of_home_goes_along(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("x")
    job = made(call({"d": tmp_path / "d"}, {"o": tmp_path / "o"}, tmp_path), in_place=False)
    assert (job.deps[0].content, job.deps[0].home, job.outs[0].home) == (CONTENT, None, None)
    assert job.outs[1].in_place is None
    assert job.user == os.getuid()


def test_with_the_embedded_default_home_is_marked(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("x")
    job = made(call({"d": tmp_path / "d"}, {"o": tmp_path / "new" / "deep" / "o"}, tmp_path), embedded=True)
    [dep], [out, workspace] = job.deps, job.outs
    assert dep.content is None and dep.home is not None and is_same_path(dep.home)
    assert out.home is not None and out.home.path == str(tmp_path / "new" / "deep" / "o")
    assert out.home.nearest.path == str(tmp_path)
    assert workspace.in_place is not None and is_same_path(workspace.in_place)


def test_four_hundred_paths_are_resolved_once(tmp_path: Path, monkeypatch: object) -> None:
    deps = {f"d{n}": tmp_path / "data" / f"{n}" for n in range(400)}
    outs = {f"o{n}": tmp_path / "out" / f"{n}" / "m.pkl" for n in range(400)}
    asked = call(deps, outs, tmp_path / "run")
    resolved: list[object] = []
    real, os.path.realpath = os.path.realpath, lambda path, **_: resolved.append(path) or str(path)  # type: ignore
    try:
        job = made(asked, embedded=True)
    finally:
        os.path.realpath = real
    assert resolved == []
    assert (len(job.deps), len(job.outs)) == (400, 401)
