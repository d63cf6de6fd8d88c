"""What jobs print is seen when it is printed, as their own, and before they are reported as done."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest
import warm_python
from printing import ALL_AT_ONCE, APP, WHILE_IT_RUNS, converse, seen_of

pytestmark = pytest.mark.usefixtures("ray_session_address")


def start(tmp_path: Path, port: int, *kinds: str) -> subprocess.Popen[str]:
    (tmp_path / "app.py").write_text(APP)
    return subprocess.Popen(
        [*warm_python.starter(), "app.py", json.dumps({}), str(port), *kinds],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_all_of_it_is_seen_before_the_job_is_done(tmp_path: Path) -> None:
    output, _ = start(tmp_path, 0, *ALL_AT_ONCE, "silent").communicate(timeout=120)
    assert seen_of(output) == {**ALL_AT_ONCE, "silent": []}
    assert "ray_s3_end" not in output


def test_it_is_seen_while_the_job_runs_without_a_newline_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        output = converse(start(tmp_path, listener.getsockname()[1], *WHILE_IT_RUNS), listener)
    assert [line.strip() for line in seen_of(output)["waits"]] == ["half", "whole"]
    assert "ray_s3_end" not in output
