"""Whether a store holds just the bytes that an object's name promises; what S3 holds is not fetched for that.

size differs                    no
ETag is the md5                 yes: the server computed it of what was put there (one PUT)
ETag is <md5 of md5s>-<parts>   yes, if it is that of our own multipart upload of this file, over a slow line or not
any other ETag                  no: the server encrypts (SSE-KMS), or another program chose other parts
a directory's file              its bytes are read

"No" need not mean that an object is spoilt. That is certain only afterwards: see `was_spoilt`.
"""

from __future__ import annotations

import contextlib

from ..content.looking.snapshot import Entry
from ..content.manifest import md5, md5_of_file
from .store import Seen, Store
from .transport.sending import part_size
from .transport.uplink import LEAST

_CHUNK = 1024 * 1024


def holds(store: Store, seen: Seen | None, entry: Entry, part: int) -> bool:
    """Whether ``seen``, the object of that name (None: there is none), has the entry's bytes.

    ``part`` is the size of parts that an upload of ours asks for, in bytes. "No" only costs another upload.
    """
    if seen is None or seen.size != entry.size:
        return False
    if store.local:
        with contextlib.suppress(OSError):  # gone meanwhile
            return md5_of_file(store.file_of(seen.key)) == entry.md5
        return False
    if "-" not in seen.etag:
        return seen.etag == entry.md5
    with contextlib.suppress(OSError):  # of the file: whoever sends it says so
        sizes = {part_size(entry.size, part), part_size(entry.size, min(part, LEAST))}
        return any(seen.etag == _etag_of_parts(entry, size) for size in sizes if _has_parts(seen, size))
    return False


def was_spoilt(store: Store, before: Seen, entry: Entry, part: int) -> bool:
    """Whether ``before``, which an upload of the entry has just replaced, certainly had other bytes.

    Its size tells, and so does its ETag where the one of what has its place now shows that this store's ETags are
    made of md5s. Raises StoreError.
    """
    if store.local or before.size != entry.size:
        return True
    now = store.look(before.key)
    return now is not None and _parts_of(now) == _parts_of(before) and holds(store, now, entry, part)


def _parts_of(seen: Seen) -> str:
    return seen.etag.partition("-")[2]


def _has_parts(seen: Seen, part: int) -> bool:
    return seen.etag.endswith(f"-{-(-seen.size // part)}")


def _etag_of_parts(entry: Entry, part: int) -> str:
    """What S3 calls a multipart upload of this file: the md5 of its parts' md5s, and how many there are."""
    digests = []
    with open(entry.path, "rb", buffering=0) as file:
        for start in range(0, entry.size, part):
            state, left = md5(), min(part, entry.size - start)
            while left and (data := file.read(min(left, _CHUNK))):
                state.update(data)
                left -= len(data)
            digests.append(state.digest())
    return f"{md5(b''.join(digests)).hexdigest()}-{len(digests)}"
