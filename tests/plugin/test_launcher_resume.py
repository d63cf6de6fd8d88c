"""Sweeps that are started again, with nothing configured: what they wrote stays where it is."""

from __future__ import annotations

import importlib
import shutil
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sweeps import sweep

from ray_decorator.core.errors import InputError, JobError

pytestmark = pytest.mark.usefixtures("ray_session")

CONFIG = {"x": 1, "data": "data", "out": "outs/${x}", "told": "???"}
APP = """
from pathlib import Path

def task(cfg):
    with open(cfg.told, "a") as told:
        told.write(f"{cfg.x} ")
    if cfg.x == 13 and not Path(cfg.told + ".lucky").exists():
        raise ValueError("unlucky")
    Path(cfg.out).parent.mkdir(exist_ok=True)
    Path(cfg.out).write_text(Path(cfg.data, "a").read_text() + str(cfg.x))
    return {"x": cfg.x} if cfg.x != 7 else {cfg.x}
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An app's module in a directory of its own, where it is started."""
    home = tmp_path / "app"
    (home / "data").mkdir(parents=True)
    (home / "data" / "a").write_text("data ")
    name = f"app_{uuid.uuid4().hex}"  # workers keep modules
    (home / f"{name}.py").write_text(APP)
    monkeypatch.chdir(home)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(home))
    return importlib.import_module(name)


def run(app: ModuleType, xs: str, **launcher: Any) -> list[Any]:
    told = Path(app.__file__ or "").parents[1] / "told"
    jobs = sweep(CONFIG, app.task, [f"x={xs}", f"told={told}"], deps=["data"], outs=["out"], **launcher)
    return [job.return_value for job in jobs]


def ran(app: ModuleType) -> list[str]:
    told = Path(app.__file__ or "").parents[1] / "told"
    text = told.read_text().split() if told.exists() else []
    told.unlink(missing_ok=True)
    return sorted(text)


def test_what_is_where_it_was_is_not_made_again(app: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(app, "1,2,3,7") == [{"x": 1}, {"x": 2}, {"x": 3}, {7}]
    assert ran(app) == ["1", "2", "3", "7"]
    Path("outs/2").write_text("by hand")
    replaced = Path("outs/3").read_bytes()
    Path("new").write_bytes(replaced)
    shutil.move("new", "outs/3")  # another file with the same bytes
    capfd.readouterr()
    assert run(app, "3,2,1,4,7", resume=True) == [{"x": 3}, {"x": 2}, {"x": 1}, {"x": 4}, {7}]
    assert ran(app) == ["2", "4", "7"]
    shown = "".join(capfd.readouterr())
    assert shown.count(" RESUMED ") == 2 and "5 jobs: 3 COMPLETED, 2 RESUMED" in shown
    assert "JSON cannot hold what the task returned: a builtins.set" in shown
    assert [Path(f"outs/{x}").read_text() for x in (1, 2, 3, 4)] == [f"data {x}" for x in (1, 2, 3, 4)]


def test_what_failed_runs_again_if_that_is_asked_for(app: ModuleType) -> None:
    lucky = Path(app.__file__ or "").parents[1] / "told.lucky"
    for resume, again in ((False, ["1", "13"]), (True, []), ("failed", ["13"])):
        with pytest.raises((ValueError, JobError), match="unlucky"):
            run(app, "1,13", resume=resume)
        assert ran(app) == again
    lucky.touch()
    assert run(app, "1,13", resume="failed") == [{"x": 1}, {"x": 13}]
    assert ran(app) == ["13"]


def test_a_task_that_no_file_has_cannot_be_resumed(app: ModuleType) -> None:
    namespace: dict[str, Any] = {}
    exec("def task(cfg): return 1", namespace)
    with pytest.raises(InputError, match="no file that travels as code holds its task"):
        sweep({"x": 1}, namespace["task"], ["x=1"], resume=True)
