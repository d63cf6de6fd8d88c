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
