"""What a driver's own process knows of itself: real processes, and a real Hydra app."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from projects import CHECKOUT, make

from ray_decorator.core.errors import InputError
from ray_decorator.project import driver

_TELL = """
import json, os, sys
from ray_decorator.project import driver
def tell():
    where = [str(driver.main_script()), driver.project_paths(), str(driver.started_at())]
    return [*where, driver.hydra_config() is None]
"""


def told(*command: str | Path, cwd: Path) -> Any:
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environ, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_a_script_an_interactive_session_and_what_of_sys_path_is_the_user_s(tmp_path: Path) -> None:
    make(tmp_path / "real", "train.py")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real/train.py").write_text(_TELL + "sys.path.append('/x/y.zip')\nprint(json.dumps(tell()))")
    main, paths, start, no_hydra = told(tmp_path / "link/train.py", cwd=tmp_path)
    assert (main, start, no_hydra) == (str(tmp_path / "real/train.py"), str(tmp_path), True)
    assert paths[:2] == [str(tmp_path / "real"), str(CHECKOUT)]
    assert not [path for path in paths if path.startswith((sys.prefix, "/x"))]
    main, paths, start, _ = told("-c", _TELL + "print(json.dumps(tell()))", cwd=tmp_path)
    assert (main, paths[0], start) == ("None", str(tmp_path), str(tmp_path))


def test_where_hydra_knows_no_output_directory_yet_it_is_here(tmp_path: Path) -> None:
    composed = """
import hydra
from hydra.core.hydra_config import HydraConfig
with hydra.initialize(config_path=None, version_base="1.3"):
    HydraConfig.instance().set_config(hydra.compose(return_hydra_config=True))
print(json.dumps(tell()))
"""
    (tmp_path / "app.py").write_text(_TELL + composed)
    assert told("app.py", cwd=tmp_path)[2:] == [str(tmp_path), False]


def test_a_hydra_app_that_moved_us_was_started_elsewhere(tmp_path: Path) -> None:
    app = """
import hydra
@hydra.main(version_base="1.1", config_path=None)
def main(config):
    inside = tell()
    os.chdir("/")
    print(json.dumps([inside, tell()]))
main()
"""
    (tmp_path / "train.py").write_text(_TELL + app)
    inside, moved_on = told("train.py", "hydra.job.chdir=true", cwd=tmp_path)
    assert inside[2:] == [str(tmp_path), False]
    assert moved_on[2] == "/"


def test_python_m_has_a_main_script(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(_TELL + "print(json.dumps(tell()))")
    assert told("-m", "train", cwd=tmp_path)[0] == str(tmp_path / "train.py")


def test_a_directory_that_is_gone_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    assert driver.working_directory() == str(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for ask in (driver.working_directory, driver.started_at):
        with pytest.raises(InputError, match=r"the working directory of this process.* is gone"):
            ask()
