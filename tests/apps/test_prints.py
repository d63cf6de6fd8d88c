"""What jobs print is seen when it is printed, as their own, and before they are reported as done."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
import warm_python
from printing import APP, KINDS, check, converse

pytestmark = pytest.mark.usefixtures("ray_session_address")


def start(tmp_path: Path, port: int, *kinds: str) -> subprocess.Popen[str]:
    (tmp_path / "app.py").write_text(APP)
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}  # Python writes in blocks
    return subprocess.Popen(
        [*warm_python.starter(environ), "app.py", json.dumps({}), str(port), *kinds],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_it_is_seen_while_a_job_runs_and_all_of_it_before_the_job_is_done(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        output = converse(start(tmp_path, listener.getsockname()[1], *KINDS), listener)
    check(output)
    assert "ray-s3: " not in output  # nothing has to be made ready for jobs here


LEAVES_OUT = """
import os
from pathlib import Path
from ray_decorator import ray_decorator

@ray_decorator(outs=["out"])
def make(out):
    os.makedirs(f"{out}/.git")
    os.symlink("nowhere", f"{out}/dangling")
    Path(out, ".git", "config").write_text("")
    Path(out, "model").write_text("m")

make("out")
os._exit(0)  # whatever comes later is seen by nobody
"""


def test_what_is_left_out_of_an_out_is_told_before_the_job_is_done(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(LEAVES_OUT)
    command = [*warm_python.starter(), "app.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert (tmp_path / "out" / "model").read_text() == "m", said
    assert "left out, since it is version control's own: .git" in said
    assert "dangling: a symlink that leads nowhere" in said
