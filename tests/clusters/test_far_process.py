"""What a job on a far node sees of the driver's process: variables, the command line, the source of cells."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import cluster_bed
import dvc_repositories
import far_project
import pytest
import servers
from dvc_repositories import Dvc
from outliving import outlives
from process_app import APP, CONFIG

FILES = {
    "pyproject.toml": '[project]\nname = "template"\nversion = "1"\n',
    ".gitignore": "data/\nlogs/\nresults/\n",
    "app.py": APP,
    "conf/config.yaml": CONFIG,
    "conf/sub/a.txt": "the child's data",
    "data/a.txt": "the data",
}


@pytest.fixture
def driver(tmp_path: Path, bed: cluster_bed.Bed, rclone: servers.Server) -> far_project.Driver:
    environ = far_project.environment(bed, rclone, tmp_path / "home", uuid.uuid4().hex)
    (tmp_path / "disk").mkdir()
    (tmp_path / "linked").symlink_to("disk")  # as many home directories are
    project = far_project.write(tmp_path / "linked" / "project", FILES)
    return far_project.Driver(project, far_project.venv() / "bin" / "python", environ)


def told(driver: far_project.Driver, name: str = "told0.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((driver.project / "results" / name).read_text())
    return found


@pytest.mark.client
def test_the_apps_root_its_secrets_its_user_and_its_command_line(
    driver: far_project.Driver, bed: cluster_bed.Bed
) -> None:
    keys = ("hydra.launcher.deps=[data]", "hydra.launcher.outs=[out]")
    given = {"USER": "alice", "UNSET_BY_THE_APP": "1", "RAY_ADDRESS": bed.client_address}
    basic = driver.run("app.py", "-m", "hydra/launcher=basic", **given)
    assert basic.returncode == 0, basic.stdout
    at_home = told(driver)
    (driver.project / "results" / "told0.json").unlink()
    done = driver.run("app.py", "-m", "hydra/launcher=ray_s3", *keys, "hydra.verbose=true", **given)
    assert done.returncode == 0, done.stdout
    there = told(driver)

    root = there["PROJECT_ROOT"]
    assert there["root"] == root != at_home["root"] and root.endswith("/0")
    assert there["DATA_DIR"] == f"{root}/data" and at_home["DATA_DIR"] == f"{at_home['root']}/data"
    assert there["argv"] == [f"{root}/app.py", "-m", "hydra/launcher=ray_s3", *keys, "hydra.verbose=true"]
    assert there["HOME"] != at_home["HOME"]
    for name in (
        "TOKEN",
        "ELSEWHERE",
        "UNSET_BY_THE_APP",
        "user",
        "default",
        "data",
        "itself",
        "script",
        "child",
    ):
        assert there[name] == at_home[name], name
    assert there["by the variable"] is True and there["user"] == "alice" and there["TOKEN"] == "hunter2"

    assert "hunter2" not in done.stdout
    place = driver.project / "logs/sweep/0"
    assert (place / "app.log").exists()
    assert "dir: ${oc.env:PROJECT_ROOT}/logs/run" in (place / ".hydra" / "hydra.yaml").read_text()
    for node in bed.nodes:
        logs = [path for path in (node.directory / "ray").rglob("*") if path.is_file()]
        assert not any(b"hunter2" in path.read_bytes() for path in logs)


def test_the_users_own_choices_win_over_what_the_app_has_set(driver: far_project.Driver) -> None:
    """A bare run, without ``-m``."""
    given = (
        "hydra/launcher=ray_s3", "hydra.launcher.deps=[data]", "hydra.launcher.outs=[out]",
        "+hydra.launcher.ray_init_kwargs.runtime_env.env_vars={TOKEN: green, USER: bob}",
        "hydra.job.env_copy=[HOME,DATA_DIR]", "+hydra.job.env_set.ELSEWHERE=set",
    )  # fmt: skip
    done = driver.run("app.py", *given, USER="alice")
    assert done.returncode == 0, done.stdout
    there = told(driver)
    assert (there["TOKEN"], there["user"], there["ELSEWHERE"]) == ("green", "bob", "set")
    assert there["HOME"] == driver.environ["HOME"]
    assert there["DATA_DIR"] == f"{there['root']}/data"
    assert there["argv"] == [f"{there['root']}/app.py", *given]
    assert (driver.project / "logs/run/app.log").exists()
    saved = (driver.project / "logs/run/.hydra/hydra.yaml").read_text()
    assert f"DATA_DIR: {driver.project.resolve()}/data" in saved


def test_a_variable_that_is_set_nowhere(driver: far_project.Driver) -> None:
    """The first job's is not; those of the second one are, in each of the ways that its error names."""
    done = driver.run(
        "app.py", "hydra/launcher=ray_s3", "hydra.launcher.deps=[data]",
        "+late=${oc.env:NOWHERE},'by ${oc.env:FIRST}, ${oc.env:SECOND}, ${oc.env:THIRD}'",
        "+hydra.job.env_set.SECOND=env_set",
        "+hydra.launcher.ray_init_kwargs.runtime_env.env_vars.THIRD=runtime_env",
        USER="alice", FIRST="the shell",
    )  # fmt: skip
    assert done.returncode == 1
    assert "Environment variable 'NOWHERE' not found" in done.stdout
    assert "NOWHERE is not set where the job runs. One of these helps: " in done.stdout
    assert re.search(r"#1 .*by the shell, env_set, runtime_env", done.stdout), done.stdout


def test_a_child_of_a_far_job_may_not_use_ray_again(driver: far_project.Driver) -> None:
    children = [
        f"['hydra/launcher={each}','hydra.run.dir=inner','data=conf/sub']" for each in ("ray_s3", "basic")
    ]
    done = driver.run(
        "app.py",
        "hydra/launcher=ray_s3",
        "hydra.launcher.deps=[data]",
        f"+child={','.join(children)}",
        USER="alice",
    )
    for number, code in enumerate((1, 0)):
        assert re.search(rf"#{number} .*the child's code: {code}", done.stdout), done.stdout
    assert done.stdout.count("was started by a job that runs on Ray already") == 1


CELLS = """
import linecache, os, subprocess, sys
cell = '''
import inspect, sys
from ray_decorator import ray_decorator

@ray_decorator()
def told():
    return inspect.getsource(told.local), sys.argv, __name__
'''
linecache.cache["<cell 1>"] = (len(cell), None, cell.splitlines(True), "<cell 1>")
exec(compile(cell, "<cell 1>", "exec"), globals())
assert list(told()) == list(told.local()), (told(), told.local())

@ray_decorator()
def starts():
    keep = {**os.environ, "RAY_S3_KEEP": "1"}
    return subprocess.Popen(["sleep", "600"], env=keep, start_new_session=True, stdout=-3, stderr=-3).pid, os.getpid()

print("all is well", *starts())
"""


def test_a_notebooks_cell_has_its_source_its_arguments_and_what_it_keeps(
    driver: far_project.Driver,
) -> None:
    done = driver.run("-c", CELLS, "x=1", "--fast")
    *well, kept, runner = done.stdout.splitlines()[-1].split()
    assert well == ["all", "is", "well"], done.stdout
    assert outlives(int(kept), int(runner))


STAGE = """
stages:
  tell:
    cmd: {python} project/app.py hydra/launcher=ray_s3 hydra.launcher.deps=dvc hydra.launcher.outs=dvc {late}
    deps: [project/data]
    outs: [project/results/told0.json]
"""


def test_a_dvc_stage_that_is_started_outside_of_the_project(
    dvc: Dvc, driver: far_project.Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = dvc_repositories.init(tmp_path / "disk")
    late = """'+late="in ${oc.env:DVC_ROOT} ${oc.env:DVC_STAGE}"'"""
    (root / "dvc.yaml").write_text(STAGE.format(python=driver.python, late=late.replace("$", "\\$")))
    for name, value in {**driver.environ, "USER": "alice"}.items():
        monkeypatch.setenv(name, value)
    shown = dvc(root, "repro")
    there = told(driver)
    assert there["argv"][0] == f"{there['root']}/app.py" and there["script"] and there["itself"]
    assert f"in {there['root'].removesuffix('/project')} tell" in shown and there["root"].endswith(
        "/0/project"
    )
    assert there["data"] == "the data"
    assert dvc(root, "status").strip() == "Data and pipelines are up to date."


LOGS = """
import logging

import hydra


@hydra.main(version_base=None, config_path=None)
def main(cfg):
    logging.getLogger(__name__).info("logged")


if __name__ == "__main__":
    main()
"""


def test_a_log_that_hydra_writes_beside_the_code_comes_home_in_the_jobs_directory(
    driver: far_project.Driver,
) -> None:
    (driver.project / "logs.py").write_text(LOGS)
    name = "${hydra.job.name}.log"  # as in hydra-colorlog
    done = driver.run(
        "logs.py",
        "hydra/launcher=ray_s3",
        "hydra.run.dir=ran",
        f"hydra.job_logging.handlers.file.filename={name}",
    )
    assert done.returncode == 0, done.stdout
    assert "logged" in (driver.project / "ran/logs.log").read_text()
    assert f"filename: {name}\n" in (driver.project / "ran/.hydra/hydra.yaml").read_text()
