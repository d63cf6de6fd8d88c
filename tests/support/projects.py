"""Projects of users for tests: written, put under git, imported from, and gathered for a cluster."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray_decorator
from ray_decorator.environment.installed import Local
from ray_decorator.project.collect import Project, collect

CHECKOUT = Path(ray_decorator.__file__).resolve().parent.parent


def make(root: Path, *names: str, **texts: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    for name, text in texts.items():
        (root / name.replace("__", "/")).write_text(text)
    return root


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def repository(root: Path, *names: str) -> Path:
    make(root, *names)
    root.mkdir(exist_ok=True)
    git(root, "init", "-q")
    return root


def collected(
    main: Path | None = None,
    cwd: Path | None = None,
    sys_path: Sequence[Path | str] | None = None,
    left_out: Collection[Path] = (),
    local: Sequence[Local] = (),
    include: Sequence[str] = (),
    earlier: Collection[Path] = (),
) -> Project:
    """As from the command line: the script's folder stands on sys.path."""
    assert main is None or main.is_file()
    entries = [main.parent] if sys_path is None and main else (sys_path or [])
    return collect(
        main=main,
        cwd=cwd or (main.parent if main else Path("/")),
        sys_path=[str(entry) for entry in entries],
        left_out=left_out,
        local=local,
        include=include,
        earlier=[str(path) for path in earlier],
    )


def names(project: Project) -> list[str]:
    assert list(project.files) == sorted(project.files)
    assert all(os.path.isabs(path) and os.path.isfile(path) for _, path in project.files)
    assert project.size == sum(os.path.getsize(path) for _, path in project.files)
    return [relpath for relpath, _ in project.files]


@contextlib.contextmanager
def importing(entry: Path, *modules: str) -> Iterator[None]:
    """As an app whose sys.path has ``entry`` and which has imported ``modules``."""
    before = set(sys.modules)
    sys.path.insert(0, str(entry))
    importlib.invalidate_caches()
    try:
        for module in modules:
            importlib.import_module(module)
        yield
    finally:
        sys.path.remove(str(entry))
        for module in set(sys.modules) - before:
            del sys.modules[module]


def on_a_worker(project: Project, there: Path, code: str) -> str:
    """What ``code`` prints where nothing but the project's tree is."""
    for name, path in project.files:
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, there / name)
    entries = [str(there / entry) for entry in project.sys_path]
    command = [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {entries}\n{code}"]
    return subprocess.run(command, cwd=there, check=True, capture_output=True, text=True).stdout.strip()


def editable(source: Path, **packages: Path) -> Local:
    return Local(source.name, "1.0", True, source, (), packages)


def as_nobody(check: Callable[[], Any]) -> None:
    """Run ``check`` in a process that permissions count for."""
    child = os.fork()
    if not child:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            check()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
