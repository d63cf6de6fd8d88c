"""What jobs print on a cluster that shares nothing with the driver, as tests/apps/test_prints.py has it here."""

from __future__ import annotations

import json
import socket
import subprocess
import uuid
from pathlib import Path

import cluster_bed
import far_project
import pytest
import servers
from printing import ALL_AT_ONCE, APP, WHILE_IT_RUNS, converse, seen_of


@pytest.fixture(params=["direct", pytest.param("client", marks=pytest.mark.client)])
def environ(
    request: pytest.FixtureRequest, bed: cluster_bed.Bed, rclone: servers.Server, tmp_path: Path
) -> dict[str, str]:
    made = far_project.environment(bed, rclone, tmp_path / "home", uuid.uuid4().hex)
    return {**made, "RAY_ADDRESS": bed.address if request.param == "direct" else bed.client_address}


def start(project: Path, environ: dict[str, str], port: int, *kinds: str) -> subprocess.Popen[str]:
    (project / "app.py").write_text(APP)
    return subprocess.Popen(
        [str(far_project.venv() / "bin" / "python"), "app.py", json.dumps({}), str(port), *kinds],
        cwd=project,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def without_ours(seen: dict[str, list[str]]) -> dict[str, list[str]]:
    return {kind: [line for line in lines if not line.startswith("ray-s3: ")] for kind, lines in seen.items()}


def test_all_of_it_is_seen_before_the_job_is_done(environ: dict[str, str], tmp_path: Path) -> None:
    output, _ = start(tmp_path, environ, 0, *ALL_AT_ONCE, "silent").communicate(timeout=300)
    assert without_ours(seen_of(output)) == {**ALL_AT_ONCE, "silent": []}
    assert "ray_s3_end" not in output


def test_it_is_seen_while_the_job_runs_without_a_newline_too(environ: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        output = converse(start(tmp_path, environ, listener.getsockname()[1], *WHILE_IT_RUNS), listener)
    assert [line.strip() for line in without_ours(seen_of(output))["waits"]] == ["half", "whole"]
    assert "ray_s3_end" not in output
