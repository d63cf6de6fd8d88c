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

from .errors import InputError


def cache_home() -> Path:
    """This project's directory in the user's cache: ``$XDG_CACHE_HOME/ray_s3``, else ``~/.cache/ray_s3``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").absolute() / "ray_s3"


def node_root() -> str:
    """Where a node keeps what it fetched and its jobs' scratch directories: RAY_S3_NODE_DIR, or below TMPDIR.

    Nothing is made or looked at: see `private_directory`. `node.entry` carries it to nodes by value.
    """
    return os.environ.get("RAY_S3_NODE_DIR") or os.path.join(tempfile.gettempdir(), f"ray_s3_{os.getuid()}")


def node_directory(name: str) -> Path:
    """The directory ``name`` of this node's root, made where missing.

    Raises InputError as `private_directory` does, for it and for the root.
    """
    return private_directory(private_directory(node_root()) / name)


def private_directory(path: str | os.PathLike[str]) -> Path:
    """``path``, made where it was missing, once it is certain that only this user can write to it.

    Raises InputError for a link, for what is no directory, for one that belongs to another user or that group
    or others may write to, and where it cannot be made.
    """
    if problem := why_not_private(os.fspath(path)):
        raise InputError(problem)
    return Path(path)


def why_not_private(path: str) -> str | None:
    """Make the directory ``path`` where it is missing; why it must not be used, None if it may.

    `node.entry` carries it to nodes by value.
    """
    advice = "Remove it, or set RAY_S3_NODE_DIR (on a driver: XDG_CACHE_HOME) to a directory of your own"
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        status = os.lstat(path)
    except OSError as exc:
        return f"{path} cannot be used as a private directory ({exc.strerror}). {advice}."
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = f"uid {status.st_uid}"
    found = None
    if stat.S_ISLNK(status.st_mode):
        found = f"is a symlink (made by {owner})"
    elif not stat.S_ISDIR(status.st_mode):
        found = f"is no directory (it belongs to {owner})"
    elif status.st_uid != os.getuid():
        found = f"belongs to {owner}, not to the user of this process (uid {os.getuid()})"
    elif status.st_mode & 0o022:
        found = f"can be written to by others than {owner} (mode {stat.S_IMODE(status.st_mode):04o})"
    if found is not None:
        return f"{path} {found}, so others could put files there that are run or trusted. {advice}."
    if stat.S_IMODE(status.st_mode) != 0o700:
        os.chmod(path, 0o700)
    return None
