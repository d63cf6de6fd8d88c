"""Directories that are removed while a program runs: the one where its Ray was started, and its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import warm_python

PRIVATE = """
import os, shutil, sys
from pathlib import Path
from ray_decorator import JobError, ray_decorator

start, other = Path("start").resolve(), Path("other").resolve()

@ray_decorator(deps=["text"], outs=["copy"], ray_init_kwargs={"num_cpus": 1})
def copied(text, copy, crash=False):
    if crash:
        os._exit(3)
    Path(copy).write_text(Path(text).read_text())
    return os.getcwd()

os.chdir(start)
Path("text.txt").write_text("of the start")
assert copied("text.txt", "copy.txt") == str(start)
os.chdir(other)
shutil.rmtree(start)
Path("text.txt").write_text("of the other")
assert copied("text.txt", "copy.txt") == str(other)
assert Path("copy.txt").read_text() == "of the other"
try:
    copied("text.txt", "copy.txt", crash=True)
except JobError as exc:
    assert "crashed" in str(exc), exc
# a worker that Ray starts anew begins in the directory that is gone
assert copied("text.txt", "again.txt") == str(other)
assert copied("text.txt", "again.txt") == str(other)
assert Path("again.txt").read_text() == "of the other"
print("all is well")
"""

OWN = """
import os, shutil
from ray_decorator import InputError, ray_decorator

@ray_decorator()
def work():
    return 1

os.mkdir("start")
os.chdir("start")
os.rmdir(os.getcwd())
for ask in (work, lambda: work.map([()]), lambda: work.submit().result()):
    try:
        print(ask())
    except InputError as exc:
        print(exc)
os.chdir("/")
print(work())
"""

RAISES = """
import os, tempfile
from ray_decorator import ray_decorator

code = "def fails():\\n    raise ValueError('of the job')"
exec(compile(code, "<made>", "exec"), globals())

def work():
    os.chdir(tempfile.mkdtemp())
    os.rmdir(os.getcwd())
    fails()

exec(compile("def work_of_a_cell():\\n    work()", "<cell>", "exec"), globals())
for function in (work, work_of_a_cell):
    try:
        ray_decorator()(function)()
    except ValueError as exc:
        print(exc)
"""

REMOVES = """
import shutil
import hydra
from hydra.utils import get_original_cwd

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    shutil.rmtree(get_original_cwd())
    return cfg.x

main()
"""

APP = """
import os, shutil, sys
import hydra
from hydra.experimental.callback import Callback

class Removes(Callback):
    def on_multirun_start(self, config, **kwargs):
        shutil.rmtree(os.getcwd())

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    return 1

main()
"""


def run(
    directory: Path, text: str, *arguments: str, address: str | None = None
) -> subprocess.CompletedProcess[str]:
    """On the Ray at ``address``, with a store; on one of its own, without."""
    (directory / "app.py").write_text(text)
    environ = {
        name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_S3_BASE_PATH")
    }
    if address is not None:
        environ |= {"RAY_ADDRESS": address, "RAY_S3_BASE_PATH": directory.as_uri()}
    return subprocess.run(
        [*warm_python.starter(), str(directory / "app.py"), *arguments], cwd=directory / "here", env=environ,
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip


def gone(path: Path) -> str:
    at = f", {path}, " if sys.platform == "linux" else " "
    return f"the working directory of this process{at}is gone: relative paths lead nowhere. Go to a directory that"


def test_a_private_ray_whose_start_directory_is_gone_serves_on(tmp_path: Path) -> None:
    for name in ("start", "other"):
        (tmp_path / "here" / name).mkdir(parents=True)
    done = run(tmp_path, PRIVATE)
    assert done.stdout.splitlines()[-1:] == ["all is well"], done.stderr


def test_a_program_whose_own_directory_is_gone_is_told_so(tmp_path: Path, ray_session: str) -> None:
    (tmp_path / "here").mkdir()
    done = run(tmp_path, OWN, address=ray_session)
    *refused, last = done.stdout.splitlines()
    assert len(refused) == 3 and last == "1", done.stderr
    assert all(line.startswith(gone(tmp_path / "here" / "start")) for line in refused)


def test_so_is_a_hydra_app(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    done = run(
        tmp_path, APP, "-m", "hydra/launcher=ray_s3", "+hydra.callbacks.removes._target_=__main__.Removes"
    )
    assert done.returncode == 1
    assert gone(tmp_path / "here") in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_job_that_removes_its_own_directory_fails_of_its_own_exception(
    tmp_path: Path, ray_session: str
) -> None:
    (tmp_path / "here").mkdir()
    done = run(tmp_path, RAISES, address=ray_session)
    assert done.stdout.splitlines() == ["of the job"] * 2, done.stderr


def test_a_sweep_whose_start_directory_is_removed_by_its_job_ends_as_with_the_basic_launcher(
    tmp_path: Path, ray_session: str
) -> None:
    for launcher in ("basic", "ray_s3"):
        (tmp_path / "here").mkdir()
        done = run(
            tmp_path,
            REMOVES,
            "-m",
            f"hydra/launcher={launcher}",
            "+x=1",
            f"hydra.sweep.dir={tmp_path}/{launcher}",
            address=ray_session,
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / launcher / "0" / ".hydra" / "config.yaml").read_text() == "x: 1\n"
        assert "Traceback" not in done.stderr, done.stderr
    assert f"{tmp_path}/ray_s3/0" in done.stderr + done.stdout
