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
import warm_python
from printing import APP, KINDS, check, converse


def start(project: Path, environ: dict[str, str], port: int, *kinds: str) -> subprocess.Popen[str]:
    (project / "app.py").write_text(APP)
    return subprocess.Popen(
        [
            *warm_python.starter(environ, str(far_project.venv() / "bin/python")),
            "app.py",
            json.dumps({}),
            str(port),
            *kinds,
        ],
        cwd=project,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.client
def test_it_is_seen_while_a_job_runs_and_all_of_it_before_the_job_is_done(
    bed: cluster_bed.Bed, rclone: servers.Server, tmp_path: Path
) -> None:
    """By way of Ray Client, which has more on the way than a direct connection."""
    environ = far_project.environment(bed, rclone, tmp_path / "home", uuid.uuid4().hex)
    environ["RAY_ADDRESS"] = bed.client_address
    del environ["PYTHONUNBUFFERED"]  # Python writes to a pipe in blocks
    with socket.create_server(("127.0.0.1", 0)) as listener:
        check(converse(start(tmp_path, environ, listener.getsockname()[1], *KINDS), listener))
