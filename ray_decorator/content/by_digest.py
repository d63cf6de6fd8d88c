"""Contents that are known by their digests, of paths that are not on this disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NoReturn

from ..core.errors import InputError
from ..core.values.contents import Content
from .hashes.hash_cache import Stamp
from .hashes.hashing import Md5s
from .looking.look import Found
from .looking.snapshot import Snapshot, made_of_md5s


def held(path: str, content: Content, gone: str) -> Snapshot:
    """What the store holds and this disk does not. Asked for its bytes, it raises InputError(``gone``)."""

    def raise_() -> NoReturn:
        raise InputError(gone)

    return Snapshot(path, content, Found(), raise_)


def made_of(path: str, objects: Iterable[tuple[str, str, str]], executables: Iterable[str] = ()) -> Snapshot:
    """What ``path`` would hold: relative path (``""`` for a single file), file with the bytes, their md5.

    ``executables`` are relative paths, too.
    The md5s are verified as the bytes are uploaded. Raises OSError where a file is not there.
    """
    found, md5s = Found(executables=set(executables)), dict[str, str]()
    for relpath, file, md5 in objects:
        found.files.append((relpath, file))  # the modes are those of the objects, which mean nothing
        found.stamps[file] = Stamp.of(os.stat(file))
        md5s[file] = md5
    return made_of_md5s(path, found, Md5s(md5s, frozenset(), frozenset(md5s)))
