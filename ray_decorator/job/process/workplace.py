"""Where a job's process on another machine stands: the user's code put down, importable, and a directory that
stands for the one in which the driver was started.

In a process on the driver's own machine nothing is set up, and the questions below are answered with None.
"""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

from ...core.machine.directories import node_directory
from ...core.paths import Folder
from ...core.values.bundles import Bundle, Code
from ...store.store import Store
from ..disk.cache import NodeCache
from ..disk.scratch import Scratch, open_scratch
from .bytecode import leave_unwritten

_start: Path | None = None
_code: str | None = None
_main: Path | None = None
_stands_for: list[tuple[Folder, Path]] = []  # the driver's folders, and what stands for each here


def start_directory() -> Path | None:
    """What stands for the driver's working directory in this process; None where that is the very same."""
    return _start


def main_script() -> str | None:
    """The driver's script, put down for this process; None where it is the very same, or not there."""
    return None if _main is None else str(_main)


def here(real: str) -> str | None:
    """What stands for the driver's real path in this process: a part of its code, or of the start directory.

    None where ``real`` is at or below neither of these, and where it is the very same.
    """
    for folder, path in _stands_for:
        if real == folder.path or (folder.whole and real.startswith(os.path.join(folder.path, ""))):
            return str(path) + real[len(folder.path) :]
    return None


def is_code(file: str) -> bool:
    """Whether ``file`` is of the user's code, put down for this process."""
    return _code is not None and file.startswith(_code)


@contextlib.contextmanager
def workplace(bundle: Bundle, store: Store, working_dir: Path | None) -> Iterator[None]:
    """Set this process up for jobs, for as long as the block lasts.

    ``working_dir`` is that of the user's ``runtime_env``: jobs run in it where there is one.
    """
    with open_scratch(f"code-{uuid.uuid4().hex}") as scratch:
        roots: list[tuple[Folder, Path]] = []
        if (code := bundle.code) is None:
            start = _stand(working_dir or scratch.path / "cwd")
        else:
            start = _put_down(code, scratch, store, working_dir)
            roots = [(root, scratch.path / "code" / str(n)) for n, root in enumerate(code.roots)]
        known = [*roots, (bundle.start, start)] if bundle.start is not None else roots
        _stands_for[:] = sorted(known, key=lambda each: -len(each[0].path))  # the innermost one counts
        yield


def _put_down(code: Code, scratch: Scratch, store: Store, working_dir: Path | None) -> Path:
    global _code, _main
    root = scratch.path / "code"
    cache = NodeCache(node_directory("cache"))
    scratch.borrow([(code.content, root)], cache, store)
    links = scratch.path / "links"
    links.mkdir()
    for package, path in code.packages.items():
        *parents, name = package.split(".")
        folder = links.joinpath(*parents)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / (name + Path(path).suffix)).symlink_to(root / path)
    entries = [str(root / entry) for entry in code.sys_path] + ([str(links)] if code.packages else [])
    sys.path[:0] = entries
    # for what a job starts as a process of its own
    os.environ["PYTHONPATH"] = os.pathsep.join([*entries, os.environ["PYTHONPATH"]])
    leave_unwritten(scratch.path)
    _code, _main = f"{root}{os.sep}", root / code.main if code.main is not None else None
    return _stand(working_dir or (root / code.cwd if code.cwd is not None else scratch.path / "cwd"))


def _stand(cwd: Path) -> Path:
    global _start
    cwd.mkdir(parents=True, exist_ok=True)
    os.chdir(cwd)
    _start = cwd
    return cwd
