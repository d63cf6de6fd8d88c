"""Repositories of DVC's, and the real dvc to compare with."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import warm_python

from ray_decorator.content.manifest import dump, object_key

if TYPE_CHECKING:
    from dvc.repo import Repo

IMPORTS = (
    "dvc.cli.parser",
    "dvc.repo",
    "dvc.repo.fetch",
    "dvc.fs",
    "dvc.stage.cache",
    "dvc_data.hashfile.build",
)


def init(root: Path) -> Path:
    """A new repository without git: what ``dvc init --no-scm`` makes."""
    (root / ".dvc" / "tmp").mkdir(parents=True)
    (root / ".dvc" / "tmp" / "btime").touch()
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")
    (root / ".dvcignore").write_text(
        "# Add patterns of files dvc should ignore, which could improve\n"
        "# the performance. Learn more at\n"
        "# https://dvc.org/doc/user-guide/dvcignore\n"
    )
    return root


def add(root: Path, *names: str) -> None:
    """What ``dvc add`` makes of files and folders of the repository, where its cache has copies."""
    for name in names:
        path, cache = root / name, root / ".dvc" / "cache"
        files = [(name, path)] if path.is_file() else [(str(p.relative_to(path)), p) for p in _files(path)]
        datas = {relpath: file.read_bytes() for relpath, file in files}
        digests = {relpath: _put(cache, data) for relpath, data in datas.items()}
        digest = digests[name] if path.is_file() else _put(cache, dump(digests.items())[1], ".dir")
        count = "" if path.is_file() else f"  nfiles: {len(datas)}\n"
        root.joinpath(f"{name}.dvc").write_text(
            f"outs:\n- md5: {digest}\n  size: {sum(map(len, datas.values()))}\n{count}"
            f"  hash: md5\n  path: {path.name}\n"
        )


def push_all(root: Path, store: Path) -> None:
    """What ``dvc remote add --default store`` and ``dvc push`` make, of all that the cache has."""
    with (root / ".dvc" / "config").open("a") as config:
        url = os.path.relpath(store, root / ".dvc")
        config.write(f"    remote = store\n['remote \"store\"']\n    url = {url}\n")
    shutil.copytree(root / ".dvc" / "cache", store)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _put(cache: Path, data: bytes, suffix: str = "") -> str:
    digest = hashlib.md5(data).hexdigest() + suffix
    path = cache / object_key(digest)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o444)
    return digest


class Dvc:
    """The real dvc: its commands by a call, and the library in this process."""

    def __call__(self, repository: Path, *arguments: str) -> str:
        """Run a command in the repository; what it printed."""
        done = self.process(repository, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def process(self, repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "DVC_NO_ANALYTICS": "1"}
        return subprocess.run(
            [*warm_python.starter(environ, imports=IMPORTS), "-m", "dvc", *arguments],
            cwd=repository,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def answers(self, directory: Path, code: str) -> str:
        """What a program prints that imports dvc, run in the directory."""
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def repo(self, root: str | None = None) -> Repo:
        """The repository, as dvc itself has it: to be used in a ``with``."""
        from dvc.repo import Repo

        return Repo(root)

    def root_of(self, path: Path) -> str:
        from dvc.repo import Repo

        return str(Repo.find_root(str(path)))

    def digest_of(self, repository: Path, path: Path) -> str:
        """The md5 that dvc has for a file or directory of the repository: what `dvc add` would record."""
        from dvc_data.hashfile.build import build

        with self.repo(str(repository)) as repo:
            cache = repo.cache.local
            _, _, found = build(cache, str(path), cache.fs, "md5", dry_run=True, ignore=repo.dvcignore)
            return str(found.hash_info.value)


@pytest.fixture(scope="session")
def dvc() -> Dvc:
    """Its name tells which tests start it (`marking`): they are programs of their own."""
    return Dvc()
