"""What a manifest of DVC's cannot say: permissions that are missing, empty directories, links inside a tree.

They travel inline, in `core.model.Content`, beside the digest; data that DVC alone has pushed has none.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from ..core.errors import CorruptObjectError
from ..core.values.contents import Content, Extras
from .temporary import beside


def closed_bits(mode: int) -> int:
    """The permission bits of group and others that a file or directory of this ``mode`` is not to have.

    0 where they may read it (and enter it): what they may do beyond that is left to the umask. The owner's own bits
    are not kept: deps are read-only to a job elsewhere, and so is what it has copied of them.
    """
    if stat.S_ISDIR(mode):
        return sum(~mode & 0o7 << shift for shift in (3, 0) if mode & 0o5 << shift != 0o5 << shift)
    return sum(0o7 << shift for shift in (3, 0) if not mode & 0o4 << shift)


def inward(root: str, link: str, leads_to: str) -> str | None:
    """Where a link at the relative path ``link`` leads, relative and in short; None where that is out of ``root``.

    What lies on the way there is not looked at.
    """
    folder = os.path.join(root, os.path.dirname(link))
    place = os.path.normpath(os.path.join(folder, leads_to))
    if place != root and not place.startswith(os.path.join(root, "")):
        return None
    short = os.path.normpath(leads_to)
    # out and in again names the directory, which has another name elsewhere
    by_name = short.split("/").count("..") > len(Path(os.path.dirname(link)).parts)
    return os.path.relpath(place, folder) if os.path.isabs(leads_to) or by_name else short


class Modes:
    """The modes of a content's files, before the umask."""

    def __init__(self, content: Content) -> None:
        self._executables, self._closed = set(content.executables), dict(content.extras.private)

    def of(self, relpath: str, mode: int = 0o666) -> int:
        """Of one that had ``mode`` if it were like most."""
        executable = 0o111 if relpath in self._executables else 0
        return (mode | executable) & ~self._closed.get(relpath, 0)


def check(extras: Extras, files: Iterable[str]) -> None:
    """Raises CorruptObjectError where one of the extras could lead anywhere but below the directory of ``files``.

    Whoever can write to a store may have made them up.
    """
    links, rows = dict(extras.links), frozenset(files)
    for text in (*extras.folders, *(text for link in extras.links for text in link)):
        try:
            os.fsencode(text)
        except UnicodeEncodeError as exc:
            raise CorruptObjectError(f"{text!r} is no name that a file can have") from exc
    for path in (*rows, *extras.folders, *links):
        above = path.rpartition("/")[0]
        while above:
            if above in links or above in rows:
                raise CorruptObjectError(f"{path!r} is below {above!r}, which is no directory")
            above = above.rpartition("/")[0]
    for path in (*extras.folders, *links):
        if "\0" in path or {"", ".", ".."} & set(path.split("/")):
            raise CorruptObjectError(f"{path!r} is not a path below the directory")
    for path in extras.folders:
        if path in links or path in rows:
            raise CorruptObjectError(f"{path!r} is a directory, and something else as well")
    for link, target in links.items():
        if "\0" in target or os.path.isabs(target) or target != inward("/d", link, target):
            raise CorruptObjectError(f"the link {link!r} -> {target!r} leads out of its directory")


def close(path: str, bits: int) -> None:
    """Take these permission bits from what is there, where they are set; not from another user's file."""
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & bits:
        with contextlib.suppress(PermissionError):
            os.chmod(path, mode & ~bits)


def make_link(path: str, target: str) -> None:
    """Put a link there, whole; one that is there and leads to the same stays."""
    if os.path.islink(path) and os.readlink(path) == target:
        return
    temporary = beside(path)
    os.symlink(target, temporary)
    try:
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
