"""What a store's objects are called, and how a directory is one of them.

The layout is, byte for byte, a DVC 3 remote's: a file is ``files/md5/<2 hex>/<30 hex>``; a directory is
its manifest, JSON rows of ``md5`` and ``relpath``, named by the manifest's own md5 with ``.dir`` after it.
Empty directories and modes are not in it. (dvc-data: ``hashfile/tree.py``, ``Tree.as_bytes``.)
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
import re
from collections.abc import Iterable
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.errors import CorruptObjectError

if TYPE_CHECKING:
    from typing_extensions import Buffer

PREFIX = "files/md5"

_PAIR = operator.itemgetter("relpath", "md5")
_NO_NAMES = frozenset({"", ".", ".."})
_NO_NAME = re.compile(r"/\.{0,2}/")
_MD5 = re.compile(r"[0-9a-f]{32}\Z")
_HEX = "0123456789abcdef"
_CHUNK = 1024 * 1024
_LONGEST_SHOWN = 200  # characters of what somebody else has written
_quoted = json.encoder.encode_basestring_ascii


class Row(NamedTuple):
    """A file of a directory: its path relative to it, with ``/``, and the md5 of its bytes in hex."""

    relpath: str
    md5: str


def md5(data: Buffer = b"") -> hashlib._Hash:
    """A running md5; it names contents here, and protects nothing (so it works under FIPS too)."""
    return hashlib.md5(data, usedforsecurity=False)


def md5_of_file(path: str | os.PathLike[str]) -> str:
    """The md5 of a file's bytes in hex, read in pieces of 1 MiB. Raises OSError."""
    state, buffer = md5(), memoryview(bytearray(_CHUNK))
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            state.update(buffer[:count])
    return state.hexdigest()


def object_key(digest: str) -> str:
    """Where a store keeps the object of this name: ``files/md5/ab/cdef…``."""
    return f"{PREFIX}/{digest[:2]}/{digest[2:]}"


def digest_of_key(key: str) -> str:
    """The name of the object that a store keeps at ``key``: the reverse of `object_key`."""
    return key[len(PREFIX) + 1 :].replace("/", "")


def dump(rows: Iterable[tuple[str, str]]) -> tuple[str, bytes]:
    """A directory's digest and its manifest's canonical bytes, of the (relpath, md5) of its files."""
    # as json.dumps writes a list of dicts, in a third of the time
    listed = ", ".join(f'{{"md5": "{md5}", "relpath": {_quoted(name)}}}' for name, md5 in sorted(rows))
    data = f"[{listed}]".encode("ascii")
    return md5(data).hexdigest() + ".dir", data


def load(data: bytes, digest: str) -> tuple[Row, ...]:
    """The rows of the manifest ``digest``. Whoever can write to a store may have made it up.

    Raises CorruptObjectError where the bytes do not hash to the digest, or where a row could lead
    anywhere but to a file of its own below the directory.
    """
    if md5(data).hexdigest() + ".dir" != digest:
        raise CorruptObjectError(_complaint(digest, "its bytes do not hash to its name"), (digest,))
    try:
        # each object becomes a row as it is read: a dict takes several times as much memory
        rows = _taken_at_once(data)
        if rows is None:  # which one is wrong, and why
            rows = tuple(map(_checked, _list(json.loads(data, object_hook=_row))))
        _check_layout(rows)
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise CorruptObjectError(_complaint(digest, f"{type(exc).__name__}: {exc}")) from exc
    return rows


def _taken_at_once(data: bytes) -> tuple[Row, ...] | None:
    """The rows, in a third of the time of looking at each; None where anything is wrong with any of them."""
    try:
        listed = json.loads(data, object_hook=_PAIR)
        if not isinstance(listed, list) or any(kind is not tuple for kind in set(map(type, listed))):
            return None
        names = "/".join([name for name, _ in listed])
        md5s = [md5 for _, md5 in listed]
        os.fsencode(names)
        right = not listed or not ("\0" in names or _NO_NAME.search(f"/{names}/"))
        right = right and set(map(len, md5s)) <= {32} and not "".join(md5s).strip(_HEX)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return tuple(map(tuple.__new__, repeat(Row), listed)) if right else None


def _complaint(digest: str, what: str) -> str:
    return (
        f"the directory manifest {object_key(digest)} is not acceptable: {what}. "
        "Delete the object, and run again to upload it anew."
    )


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list of rows, found {type(value).__name__}")
    return value


def _row(item: dict[str, Any]) -> Row | dict[str, Any]:
    if not {"relpath", "md5"} <= item.keys():
        return item
    return Row(_relpath(item["relpath"]), _md5(item["md5"]))


def _checked(row: Any) -> Row:
    if not isinstance(row, Row):
        raise ValueError(f"expected a row with md5 and relpath, found {_shown(row)}")
    return row


def _md5(value: Any) -> str:
    if not isinstance(value, str) or not _MD5.match(value):
        raise ValueError(f"{_shown(value)} is not an md5 of 32 hex digits")
    return value


def _relpath(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value or not _NO_NAMES.isdisjoint(value.split("/")):
        raise ValueError(f"{_shown(value)} is not a path below the directory")
    if not value.isascii():
        try:
            os.fsencode(value)
        except UnicodeEncodeError as exc:
            raise ValueError(f"{_shown(value)} is no name that a file can have") from exc
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) < _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _check_layout(rows: tuple[Row, ...]) -> None:
    files = {relpath for relpath, _ in rows}
    if len(files) != len(rows):
        raise ValueError("a path is listed twice")
    for folder in {path.rpartition("/")[0] for path in files if "/" in path}:
        while folder:
            if folder in files:
                raise ValueError(f"{folder!r} is listed both as a file and as a directory")
            folder = folder.rpartition("/")[0]
