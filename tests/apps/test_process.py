"""What a job sees of its process: beside the same app with the basic launcher, or the function called directly."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import warm_python
from process_app import APP, CONFIG

pytestmark = pytest.mark.usefixtures("ray_session_address")


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("UNSET_BY_THE_APP", "1")
    monkeypatch.setenv("USER", "me")
    yield


def run(home: Path, *command: str, code: int = 0, **environ: str) -> str:
    done = subprocess.run(
        [*warm_python.starter(), *command], cwd=home, env={**os.environ, **environ}, timeout=200,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    return done.stdout


def project(directory: Path) -> Path:
    (directory / "conf").mkdir(parents=True)
    (directory / "data").mkdir()
    (directory / "data" / "a.txt").write_text("the data")
    (directory / "app.py").write_text(APP)
    (directory / "conf" / "config.yaml").write_text(CONFIG)
    return directory


def told(home: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(home)): json.loads(path.read_text()) for path in sorted(home.rglob("told*.json"))
    }


@pytest.mark.parametrize("arguments", [("hydra.job.chdir=true",), ("-m", "x=1,2")], ids=["run", "sweep"])
def test_an_app_that_sets_its_root_reads_its_user_and_its_command_line_and_nothing_of_it_is_shown_or_saved(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    home, seen, places = tmp_path / "home", [], []
    keys = ("hydra.launcher.deps=[data]", "hydra.launcher.outs=[out]", "hydra.verbose=true")
    for launcher in (("hydra/launcher=basic",), ("hydra/launcher=ray_s3", *keys)):
        project(home)
        printed = run(home, "app.py", *arguments, *launcher, USER="alice")
        seen.append(told(home))
        places.append(sorted(str(path.relative_to(home)) for path in home.rglob(".hydra/*.yaml")))
        files = [path for path in home.rglob("*") if path.is_file() and path.name != "app.py"]
        saved = [path.read_text() for path in files if not re.fullmatch(r"told\d\.json", path.name)]
        assert saved and "hunter2" not in "".join([printed, *saved])
        home.rename(tmp_path / launcher[0].partition("=")[2])
    basic, ours = seen
    assert set(basic) == set(ours) and len(basic) == (1 if len(arguments) == 1 else 2)
    assert places[0] == places[1]
    for name, by_basic in basic.items():
        by_us = ours[name]
        assert by_us.pop("argv") == ["app.py", *arguments, "hydra/launcher=ray_s3", *keys]
        assert by_basic.pop("argv") == ["app.py", *arguments, "hydra/launcher=basic"]
        assert by_us == by_basic
        assert by_us["user"] == "alice" and by_us["TOKEN"] == "hunter2" and by_us["UNSET_BY_THE_APP"] is None


def test_a_variable_that_is_set_nowhere_gives_an_error_that_names_what_helps(tmp_path: Path) -> None:
    home = project(tmp_path / "home")
    basic = run(home, "app.py", "hydra/launcher=basic", "+late=${oc.env:NOWHERE}", code=1)
    ours = run(home, "app.py", "hydra/launcher=ray_s3", "+late=${oc.env:NOWHERE}", code=1)
    assert "Environment variable 'NOWHERE' not found" in basic
    assert "Environment variable 'NOWHERE' not found" in ours
    assert (
        "NOWHERE is not set where the job runs. One of these helps: set it before you start the app" in ours
    )
    late, cure = "+late='by ${oc.env:FIRST}, ${oc.env:SECOND}'", "+hydra.job.env_set.SECOND=env_set"
    assert "by the shell, env_set" in run(
        home, "app.py", "hydra/launcher=ray_s3", late, cure, FIRST="the shell"
    )


FUNCTION = """
import json, os, signal, subprocess, sys
from ray_decorator import ray_decorator

@ray_decorator()
def seen(name):
    return os.environ.get(name), sys.argv

@ray_decorator()
def in_a_child(*arguments, **environ):
    done = subprocess.run(
        [sys.executable, *(arguments or sys.argv)], env={**os.environ, "CHILD": "1", **environ},
        capture_output=True, text=True,
    )
    return done.returncode, done.stdout.strip(), done.stderr

@ray_decorator(ray_remote_kwargs={"num_cpus": 0})
def nested():
    return 7

@ray_decorator()
def nests():
    return nested()

@ray_decorator()
def interrupts_a_child():
    with subprocess.Popen(["sleep", "20"]) as child:
        child.send_signal(signal.SIGINT)
    return child.returncode

if os.environ.get("CHILD"):
    print(nested())
    sys.exit()

later = []
for number in range(2):
    os.environ["SEED"] = str(number)
    assert list(seen("SEED")) == [*seen.local("SEED")] == [str(number), sys.argv]
    later.append(seen.submit("SEED"))
os.environ["SEED"] = "of later"
assert [one.result()[0] for one in later] == ["0", "1"]
assert interrupts_a_child() == interrupts_a_child.local() == -signal.SIGINT
assert nests() == 7  # the job itself may use Ray
code, out, err = in_a_child()
assert code == 1 and out == "", (code, out, err)
assert err.splitlines()[-1].startswith(
    "ray_decorator.core.errors.InputError: this process was started by a job that runs on Ray already"
), err
assert in_a_child(RAY_S3_NESTED="1")[:2] == (0, "7")
print("all is well")
"""


def test_calls_see_the_variables_of_their_moment_and_a_jobs_child_may_not_use_ray_again(
    tmp_path: Path,
) -> None:
    (tmp_path / "app.py").write_text(FUNCTION)
    assert run(tmp_path, "app.py", "--fast", "x=1").splitlines()[-1] == "all is well"


def test_a_hydra_app_that_a_job_starts_may_run_with_the_basic_launcher_alone(tmp_path: Path) -> None:
    home = project(tmp_path / "home")
    children = [f"['hydra/launcher={each}','hydra.run.dir=inner']" for each in ("ray_s3", "basic")]
    printed = run(home, "app.py", "hydra/launcher=ray_s3", f"+child={','.join(children)}")
    for number, code in enumerate((1, 0)):
        assert re.search(rf"#{number} .*the child's code: {code}", printed), printed
    assert printed.count("this process was started by a job that runs on Ray already") == 1
    assert printed.count("RAY_S3_NESTED=1") == 1
