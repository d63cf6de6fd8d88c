"""Running uv on a node: what it is told, and what it says.

A cluster may have nothing but ray: this module imports the standard library alone.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from ..core.errors import without_passwords
from ..core.values.bundles import Requirements

_SHOWN_LINES = 30
# a node's own settings that would change what exact pins mean, or where they are installed
_FOREIGN_SETTINGS = (
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_CONSTRAINT",
    "UV_EXCLUDE_NEWER",
    "UV_OVERRIDE",
    "UV_PYTHON",
    "UV_REQUIRE_HASHES",
    "UV_SYSTEM_PYTHON",
    "VIRTUAL_ENV",
)


class UvError(Exception):
    """What uv said when it failed, without passwords."""


class Uv:
    """uv with the driver's indexes, in its environment only: others can read command lines and files.

    Raises UvError for a command that fails.
    """

    def __init__(self, path: str, requirements: Requirements, root: Path, lock: TextIO) -> None:
        self._path = path
        self._indexes = requirements.indexes
        self._environ = _environ_of(requirements.indexes, root)
        self._cwd = root / "envs"  # not the job's: a pyproject.toml there has settings of its own
        self._lock = lock

    def __call__(self, *arguments: str, stdin: str = "") -> None:
        done = subprocess.run(
            [self._path, *arguments],
            input=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self._environ,
            cwd=self._cwd,
            # a uv that outlives its killed job keeps the lock until it is done
            pass_fds=[self._lock.fileno()],
        )
        if done.returncode:
            raise UvError(self._shown(done.stderr) or f"(nothing; exit code {done.returncode})")

    def _shown(self, text: str) -> str:
        text = without_passwords(text)
        for name, value in self._indexes.items():
            if name.endswith("_PASSWORD") and value:
                text = text.replace(value, "***")
        return "\n".join(text.strip().splitlines()[-_SHOWN_LINES:])


def _environ_of(indexes: Mapping[str, str], root: Path) -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if name not in _FOREIGN_SETTINGS}
    environ |= indexes
    environ |= {"UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    # an index that does not answer ends in a message within a minute
    environ.setdefault("UV_HTTP_TIMEOUT", "20")
    environ.setdefault("UV_HTTP_RETRIES", "1")
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("HOME", "")
    if not (os.path.isdir(home) and os.access(home, os.W_OK)):
        environ.setdefault("UV_CACHE_DIR", str(root / "uv-cache"))
    return environ


def requirements_text(pins: Mapping[str, str]) -> str:
    """A requirements file's text."""
    rows = (f"{n} {v}" if v.startswith("@") else f"{n}=={v}" for n, v in sorted(pins.items()))
    return "".join(f"{row}\n" for row in rows)
