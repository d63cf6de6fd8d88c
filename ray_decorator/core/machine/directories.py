"""Where this project keeps its own files: the user's cache on the driver, a node's directory on a worker.

Other users of a machine must not be able to put anything there: what is found there is run and trusted.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import tempfile
from pathlib import Path

from ..errors import InputError

_ADVICE = "set RAY_S3_NODE_DIR (on a driver: XDG_CACHE_HOME) to a directory of your own"


def cache_home() -> Path:
    """This project's directory in the user's cache: ``$XDG_CACHE_HOME/ray_s3``, else ``~/.cache/ray_s3``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").absolute() / "ray_s3"


def config_home() -> Path:
    """Where a user's other programs have their settings: ``$XDG_CONFIG_HOME``, else ``~/.config``."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"))


def node_root() -> str:
    """Where a node keeps what it fetched and its jobs' scratch directories: RAY_S3_NODE_DIR, or below TMPDIR.

    Nothing is made or looked at: see `private_directory`. `node.entry` carries it to nodes by value.
    """
    path = os.environ.get("RAY_S3_NODE_DIR") or os.path.join(tempfile.gettempdir(), f"ray_s3_{os.getuid()}")
    return os.path.normpath(path)  # with a slash at its end, a link would pass for the directory it leads to


def private_directory(path: str | os.PathLike[str]) -> Path:
    """``path``, made where it was missing, once it is certain that only this user can write to it.

    Raises InputError for a link, for what is no directory, for one that belongs to another user or that group
    or others may write to, for a relative path, and where it cannot be made (then an OSError is its cause).
    """
    try:
        problem = _made_private(os.fspath(path))
    except OSError as exc:
        raise InputError(_cannot_be(path, exc)) from exc
    if problem:
        raise InputError(problem)
    return Path(path)


def node_directory(name: str) -> Path:
    """The directory ``name`` directly below `node_root`, made where it is missing: ``cache``, ``jobs``, ….

    Both are checked as `private_directory` does; raises InputError as it does.
    """
    return private_directory(private_directory(node_root()) / name)


def why_not_private(path: str) -> str | None:
    """Make the directory ``path`` where it is missing; why it must not be used, None if it may.

    It may be used if it is a directory (no link) of this user that group and others cannot write to; others
    cannot read it from then on either (mode 0700). `node.entry` carries this to nodes by value.
    """
    try:
        return _made_private(path)
    except OSError as exc:
        return _cannot_be(path, exc)


def why_not_ours(path: str) -> str | None:
    """As `why_not_private`, of what is there: nothing is made, and what is not there is no problem."""
    return why_not_private(path) if os.path.lexists(path) else None


def _made_private(path: str) -> str | None:
    if not os.path.isabs(path):
        return f"{path} is a relative path, and jobs change their directory: {_ADVICE}, by its absolute path."
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    status = os.lstat(path)
    mode = status.st_mode
    ours = stat.S_ISDIR(mode) and status.st_uid == os.getuid() and not mode & 0o022
    if ours and stat.S_IMODE(mode) != 0o700:
        os.chmod(path, 0o700)
    if ours:
        return None
    why = f"{_fault(status)}, so others could put files there that are run or trusted"
    return f"{path} {why}. Remove it, or {_ADVICE}."


def _cannot_be(path: str | os.PathLike[str], error: OSError) -> str:
    reason = f"{error.strerror}: {error.filename}"
    return f"{os.fspath(path)} cannot be used as a private directory ({reason}). Change that, or {_ADVICE}."


def _fault(status: os.stat_result) -> str:
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = f"uid {status.st_uid}"
    if stat.S_ISLNK(status.st_mode):
        return f"is a symlink (made by {owner})"
    if not stat.S_ISDIR(status.st_mode):
        return f"is not a directory (it belongs to {owner})"
    if status.st_uid != os.getuid():
        return f"belongs to {owner}, not to the user of this process (uid {os.getuid()})"
    return f"can be written to by others than {owner} (mode {stat.S_IMODE(status.st_mode):04o})"
