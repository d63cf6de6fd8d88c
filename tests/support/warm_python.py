"""Programs that find their imports made: one Python imports what apps import, and each program is a fork of it.

    subprocess.run([*warm_python.starter(), "app.py", "x=1"], cwd=…, env=…)

does what ``[sys.executable, "app.py", "x=1"]`` does. An app needs half a second for its imports, with Ray more than
a second, and tests start some hundreds. What is imported beforehand is other people's: an app imports our package,
Hydra's plugins and its own modules itself. Not where it counts what a program has imported (what a job needs on
another machine, the ids of jobs), nor where a test uses its pid.

    the test ── warm_python_starter ── socket ── warm_python_server ── fork ── the program

The starter hands on its arguments, environment, directory and streams, and the signals that it gets; it ends as the
program does. The program ends with the starter, and the server with the process of the tests.
"""

from __future__ import annotations

import atexit
import functools
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

APPS = (
    "boto3", "cloudpickle", "hydra.main", "hydra.utils", "hydra._internal.hydra", "hydra._internal.utils",
    "hydra.core.plugins", "hydra_zen", "importlib.metadata", "multiprocessing.pool", "obstore.store",
    "packaging.requirements", "pathspec", "ray", "ray._common.pydantic_compat", "ray._common.usage.usage_lib",
    "ray.util.client", "requests", "rich.live", "rich.progress", "rich.table", "sqlite3",
)  # fmt: skip
"""What apps import, and what Ray does when they connect."""
_AT_IMPORT = ("PYTHONPATH", "RAY_")
"""Variables that are read by imports: programs that have others have another server."""
_LATER = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_S3_")


def starter(
    environ: Mapping[str, str] | None = None, python: str = sys.executable, imports: tuple[str, ...] = APPS
) -> list[str]:
    """The command that stands for ``python`` where the program gets ``environ``; this process's, unless told.

    ``imports`` are made beforehand, where ``python`` has them.
    """
    given = dict(os.environ if environ is None else environ)
    read = {k: v for k, v in given.items() if k.startswith(_AT_IMPORT) and not k.startswith(_LATER)}
    place = _server(python, tuple(sorted(read.items())), imports)
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("warm_python_starter.py")), place]


def on_path(directory: Path, name: str = "python", *arguments: str, imports: tuple[str, ...] = APPS) -> str:
    """A PATH on which ``name`` is such a program, for shells; ``arguments`` come before the program's own."""
    directory.mkdir(exist_ok=True)
    command = shlex.join([*starter(imports=imports), *arguments])
    (directory / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    (directory / name).chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


@functools.cache
def _server(python: str, read: tuple[tuple[str, str], ...], imports: tuple[str, ...]) -> str:
    """Where it listens, once it is ready; it ends when its standard input does."""
    place = os.path.join(tempfile.mkdtemp(prefix="warm", dir="/tmp"), "socket")  # paths of sockets are short
    environ = {k: v for k, v in os.environ.items() if not k.startswith(_AT_IMPORT)} | dict(read)
    process = subprocess.Popen(
        [python, str(Path(__file__).with_name("warm_python_server.py")), place, *imports],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ,
        cwd="/",
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    atexit.register(process.wait, 10)
    atexit.register(process.stdin.close)  # before that: the last one first
    assert process.stdout.readline() == "ready\n"
    return place
