"""Objects to files, verified: a file appears whole, with the bytes its object's name promises, or not at all.

up to 128 KiB  one GET; hashed in memory and written by threads of their own, one or two
up to 8 MiB    one GET, hashed in memory, written
larger         one GET, hashed and written as it comes
over 64 MiB    ranged GETs, several at once, written as they come (`transport.ranges`), and hashed in order
               behind that (one GET, where the server answers ranges badly)
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from ..content.hashes.hash_cache import Hashed, Stamp
from ..content.manifest import Row, load, md5, object_key
from ..content.temporary import beside
from ..content.threads import Budget, Writers, each
from ..core.errors import CorruptObjectError, MissingObjectError, StoreError
from ..core.progress import Progress
from ..core.units import human_size
from ..core.values.contents import Content
from .store import Store
from .transport.incoming import Incoming
from .transport.ranges import Ranges, write_at

if TYPE_CHECKING:
    from obstore import Bytes
    from typing_extensions import Buffer

log = logging.getLogger(__name__)

_SMALL = 128 * 1024
_BACKLOG = 512  # small files that have come and are not written yet
_WHOLE = 8 * 1024 * 1024
_RANGED = 64 * 1024 * 1024
_STREAMED = 1024 * 1024  # small enough for memory to be used again, not mapped anew
_UNHASHED = 2  # pieces that have come and are not hashed yet
LARGEST_MANIFEST = 1024 * 1024 * 1024  # about ten million files
_MEMORY = 128 * 1024 * 1024


class Wanted(NamedTuple):
    """A file to make: the object that holds its bytes, where they go, and its mode, less the umask."""

    md5: str
    path: str
    mode: int


def rows_of(content: Content, store: Store) -> tuple[Row, ...]:
    """The files of ``content``; a single file's relpath is ``""``.

    Raises MissingObjectError and CorruptObjectError for the manifest.
    """
    if not content.is_tree:
        return (Row("", content.digest),)
    return load(manifest_bytes(content.digest, store), content.digest)


def manifest_bytes(digest: str, store: Store) -> bytes:
    """A directory's manifest as the store has it, unverified. Raises MissingObjectError.

    Raises CorruptObjectError where it is larger than that of any directory.
    """
    incoming = store.get(object_key(digest))
    if incoming is None:
        raise MissingObjectError((digest,), store.url)
    if incoming.size > LARGEST_MANIFEST:
        raise CorruptObjectError(
            f"the directory manifest {object_key(digest)} of {store.url} has {human_size(incoming.size)}, more than "
            f"{human_size(LARGEST_MANIFEST)}: it is not read. Delete the object, and run again to upload it anew.",
            (digest,),
        )
    return bytes(incoming.read())


def download(
    wanted: Sequence[Wanted], store: Store, progress: Progress, *, unseen: bool = False
) -> list[Hashed]:
    """Make the files; returns them with their md5s, in no order.

    ``unseen``: nobody looks at the files before all are there, and none of them is there yet, so each is made
    where it goes. Goes on past objects that are missing, or whose bytes are not what their names say, and raises
    MissingObjectError with all of them in the end, CorruptObjectError where none is missing.
    """
    budget = Budget(_MEMORY)
    done: list[Hashed] = []
    missing: set[str] = set()
    spoilt: dict[str, CorruptObjectError] = {}
    if wanted:
        progress.expect("downloading", len(wanted))

    def one(want: Wanted) -> None:
        with noted(want):
            fetch(want)

    def fetch(want: Wanted) -> None:
        incoming = store.get(object_key(want.md5))
        if incoming is None:
            missing.add(want.md5)
            return
        progress.expect("downloading", 0, incoming.size)
        if incoming.size <= _SMALL:
            writer.submit((want, incoming.read()))
            return
        with budget.hold(min(incoming.size, _MEMORY // 2)):
            if incoming.size <= _WHOLE:
                done.append(_keep(want, incoming.read(), store, unseen))
                progress.advance("downloading", 0, incoming.size)
            else:
                done.append(_keep_large(want, incoming, store, unseen, progress))
        progress.advance("downloading", 1)

    def keep_small(small: tuple[Wanted, Bytes]) -> None:
        want, data = small
        with noted(want):
            done.append(_keep(want, data, store, unseen))
        progress.advance("downloading", 1, len(data))

    @contextlib.contextmanager
    def noted(want: Wanted) -> Iterator[None]:
        try:
            yield
        except MissingObjectError:
            missing.add(want.md5)
        except CorruptObjectError as exc:
            spoilt[want.md5] = exc

    with Writers(keep_small, _BACKLOG) as writer:
        each(one, wanted, store.threads)
    if missing:
        raise MissingObjectError(tuple(sorted({*missing, *spoilt})), store.url)
    if spoilt:
        raise CorruptObjectError(str(next(iter(spoilt.values()))), tuple(sorted(spoilt)))
    return done


class _WholeFile:
    """A file being made, beside its path if not ``unseen``. Without `finish`, nothing of it remains."""

    def __init__(self, want: Wanted, unseen: bool) -> None:
        self._path, self._unseen = want.path, unseen
        self._unfinished = want.path if unseen else beside(want.path)
        # the kernel applies the umask: reading it is not safe among threads
        self.fd = os.open(self._unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, want.mode)

    def __enter__(self) -> _WholeFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        if self._unfinished:
            with contextlib.suppress(OSError):
                os.unlink(self._unfinished)

    def finish(self, md5: str) -> Hashed:
        """Let the file appear. The stamp is taken afterwards, since that changes the ctime."""
        now = 0
        if not self._unseen:
            # now, finer than the file system's clock ticks: no later change can have the same mtime
            now = time.time_ns()
            os.utime(self.fd, ns=(now, now))
            os.replace(self._unfinished, self._path)
        self._unfinished = ""
        stamp = Stamp.of(os.fstat(self.fd))
        return Hashed(
            self._path, stamp, md5, racy=stamp.mtime != now
        )  # somebody may be writing to it already


def _keep(want: Wanted, data: Bytes, store: Store, unseen: bool) -> Hashed:
    _verify(md5(data).hexdigest(), want, store)
    with _WholeFile(want, unseen) as file:
        write_at(file.fd, data, 0)
        return file.finish(want.md5)


def _keep_large(want: Wanted, incoming: Incoming, store: Store, unseen: bool, progress: Progress) -> Hashed:
    with _WholeFile(want, unseen) as file:
        found = None
        if incoming.size > _RANGED and store.ranges:
            incoming.hang_up()
            found = _ranged(want, incoming.size, store, file, progress)
        if found is None:
            found = _stream(incoming.chunks(_STREAMED), file, progress)
        _verify(found, want, store)
        return file.finish(want.md5)


def _verify(found: str, want: Wanted, store: Store) -> None:
    if found != want.md5:
        raise CorruptObjectError(
            f"the object {object_key(want.md5)} of {store.url} is corrupt: its bytes hash to {found}. "
            "Run again to upload it anew.",
            (want.md5,),
        )


def _stream(parts: Iterator[Buffer], file: _WholeFile, progress: Progress) -> str:
    """Write the parts in their order, and hash them in a thread of its own meanwhile."""
    state, offset = md5(), 0
    pending: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as hasher:
        for part in parts:
            pending.append(hasher.submit(state.update, part))
            write_at(file.fd, part, offset)
            offset += len(memoryview(part))
            progress.advance("downloading", 0, len(memoryview(part)))
            if len(pending) > _UNHASHED:
                pending.popleft().result()
    return state.hexdigest()


def _ranged(want: Wanted, size: int, store: Store, file: _WholeFile, progress: Progress) -> str | None:
    """Write the object in ranges; returns its md5, None where the server does not answer them as it should."""
    key, state, hashed = object_key(want.md5), md5(), 0

    def read(start: int, stop: int) -> Iterator[Buffer]:
        return store.get_range(key, start, stop, _STREAMED)

    try:
        with contextlib.closing(Ranges(read, file.fd, size, store.parts).ordered(_STREAMED)) as pieces:
            for piece in pieces:
                state.update(piece)
                hashed += len(piece)
                progress.advance("downloading", 0, len(piece))
    except (MissingObjectError, CorruptObjectError):
        raise
    except StoreError as exc:
        if hashed:
            raise
        log.debug("%s does not answer ranged reads (%s): reading as one stream", store.url, exc)
        store.ranges = False
        return None
    return state.hexdigest()
