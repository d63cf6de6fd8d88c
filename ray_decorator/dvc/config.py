"""DVC's configuration as DVC reads it: system, global, repo and local files, each over those before it.

The files are ConfigObj's INI (dvc: ``config.py``, ``dirs.py``). Keys count in lower case. A relative path is relative
to the directory of its file. In the temporary workspace of an experiment the main repository's file counts: DVC
itself reads the copy literally, so that ``../store`` is a directory in ``.dvc/tmp/exps`` where nobody pushes.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from .repository import DVC_DIR, original_of

Section = dict[str, Any]

_REMOTE = re.compile(r'\s*remote\s*"(.*)"\s*')
_URL = re.compile(r"\w+://")
_PATHS = ("url", "credentialpath", "configpath")


def load(root: str) -> dict[str, Section]:
    """The configuration of the repository ``root``: ``core``, ``cache``, …, and ``remote`` by name.

    Raises InputError for a file that cannot be read as DVC would.
    """
    merged: dict[str, Section] = {"core": {}, "cache": {}, "remote": {}}
    for file in files(root):
        _merge(merged, _read(file))
    return merged


def files(root: str) -> tuple[Path, ...]:
    """Where the configuration is written, the strongest last. They need not exist."""
    own = Path(root) / DVC_DIR
    return _system() / "config", _global() / "config", own / "config", own / "config.local"


def _system() -> Path:
    if named := os.environ.get("DVC_SYSTEM_CONFIG_DIR"):
        return Path(named)
    if sys.platform == "darwin":
        return Path("/Library/Application Support/dvc")
    base = os.environ.get("XDG_CONFIG_DIRS", "").split(os.pathsep)[0].strip()
    return Path(base or "/etc/xdg").expanduser() / "dvc"


def _global() -> Path:
    if named := os.environ.get("DVC_GLOBAL_CONFIG_DIR"):
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "dvc"
    return Path(os.environ.get("XDG_CONFIG_HOME", "").strip() or Path.home() / ".config").expanduser() / "dvc"


def _read(file: Path) -> dict[str, Section]:
    from configobj import ConfigObj, ConfigObjError  # lazy: without a DVC remote nobody needs it

    try:
        with open(file, encoding="utf-8") as lines:
            sections: dict[str, Any] = ConfigObj(lines).dict()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, ConfigObjError) as exc:
        raise InputError(f"{file}: cannot be read as DVC's configuration ({exc}); correct it") from exc
    folder = original_of(str(file.parent))
    read: dict[str, Section] = {"remote": {}}
    for name, section in _lower(sections).items():
        if match := _REMOTE.fullmatch(name):
            read["remote"][match[1]] = _with_paths(section, folder)
        else:
            read[name] = section
    if isinstance(where := read.get("cache", {}).get("dir"), str):
        read["cache"]["dir"] = _path(where, folder)
    return read


def _lower(section: Mapping[str, Any]) -> Section:
    return {
        key.lower(): _lower(value) if isinstance(value, Mapping) else value for key, value in section.items()
    }


def _with_paths(section: Section, folder: str) -> Section:
    paths = {key: _path(section[key], folder) for key in _PATHS if isinstance(section.get(key), str)}
    return {**section, **paths}


def _path(path: str, folder: str) -> str:
    expanded = path if _URL.match(path) else os.path.expanduser(path)
    if _URL.match(path) or os.path.isabs(expanded):
        return expanded
    return os.path.abspath(os.path.join(folder, path))


def _merge(into: dict[str, Any], update: Mapping[str, Any]) -> None:
    for key, value in update.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
