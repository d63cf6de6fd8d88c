"""Repositories of the real dvc, for comparisons."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import warm_python
from dvc.repo import Repo
from dvc_data.hashfile.build import build

_IMPORTS = (
    "dvc.cli.parser",
    "dvc.repo",
    "dvc.repo.fetch",
    "dvc.fs",
    "dvc.stage.cache",
    "dvc_data.hashfile.build",
)


def dvc(repository: Path, *arguments: str) -> str:
    """Run a command of dvc's in the repository; what it printed."""
    done = dvc_process(repository, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dvc_process(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    return subprocess.run(
        [*warm_python.starter(environ, imports=_IMPORTS), "-m", "dvc", *arguments],
        cwd=repository,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def init(root: Path) -> Path:
    """A new repository without git."""
    shutil.copytree(_initial(), root, dirs_exist_ok=True)
    return root


@functools.cache
def _initial() -> str:
    """What `dvc init --no-scm` makes: the same each time, and copied in a fraction of the time."""
    directory = tempfile.mkdtemp(prefix="dvc-init-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    Repo.init(directory, no_scm=True).close()
    return directory


def digest_of(repository: Path, path: Path) -> str:
    """The md5 that dvc has for a file or directory of the repository: what `dvc add` would record."""
    with Repo(str(repository)) as repo:
        cache = repo.cache.local
        _, _, found = build(cache, str(path), repo.cache.local.fs, "md5", dry_run=True, ignore=repo.dvcignore)
        return str(found.hash_info.value)
