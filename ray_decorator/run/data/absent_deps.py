"""Deps that are not on this disk, and that DVC tracks: what they hold is known, and comes from where it is.

the store has the object          jobs fetch it there; nothing of it passes through this machine
DVC's cache has it                it is uploaded from there
neither                           InputError: what to do
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

from ...content import manifest
from ...content.by_digest import held, made_of
from ...content.hashes.hash_cache import HashCache
from ...content.looking.snapshot import Snapshot
from ...content.manifest import Row, object_key
from ...core.errors import InputError
from ...core.values.contents import Content
from ...core.values.model import PathSlot
from ...dvc.repository import root_of
from ...dvc.tracked.cache import Cache
from ...dvc.tracked.outputs import Outputs
from ...dvc.tracked.recorded import Output
from ...store.store import Store

log = logging.getLogger(__name__)


class AbsentDeps:
    """The absent deps of one batch. ``told`` are the paths that a line was said about."""

    def __init__(
        self, opened: Callable[[], Store], hashes: HashCache, told: set[str], outputs: Outputs
    ) -> None:
        self._opened, self._hashes, self._told, self._outputs = opened, hashes, told, outputs

    def take(self, dep: PathSlot) -> Snapshot | None:
        """What the dep held when DVC wrote it down; None where DVC does not track it.

        Raises InputError where nobody has it, or where DVC's file does not tell.
        """
        path = os.path.abspath(dep.value)
        output = self._outputs.tracking(path)
        if output is None:
            return None
        if output.is_old:
            raise InputError(
                f"{path}: is not here, and {output.source} is as DVC 2 wrote it, so that its md5 does not name what "
                f"jobs would fetch. Run `dvc pull {_shown(output.path)}`, or `dvc cache migrate --dvc-files` first"
            )
        if not output.digest:
            raise InputError(
                f"{path}: is not here, and {_shown(output.source)} does not say what it holds: DVC has not fetched "
                f"it yet. Run `dvc pull {_shown(output.path)}`, or `dvc update {_shown(output.source)}` for an import"
            )
        root = root_of(output.path)
        assert root is not None
        return _AbsentDep(path, dep, output, Cache(root), self._opened(), self._hashes, self._told).take()

    def warn_of_gaps(self, dep: PathSlot, taken: Snapshot) -> None:
        """Say how many tracked files the directory lacks: what is here is what jobs get."""
        path = os.path.abspath(dep.value)
        if path in self._told:
            return
        output = self._outputs.nearby(path)
        if output is not None:  # DVC looks for no file of its own in an output
            count = _gaps(path, output, taken)
        else:
            count = sum(max(1, one.files or 1) for one in self._outputs.absent_from(path, taken.names))
        if count:
            self._told.add(path)
            log.warning(
                "deps key %r: %s lacks %d file(s) that DVC tracks; jobs get it as it is here. `dvc checkout` brings "
                "back what DVC's cache has, `dvc pull %s` what a remote has",
                dep.key,
                _shown(path),
                count,
                _shown(path),
            )


def _gaps(path: str, output: Output, taken: Snapshot) -> int:
    inside = "" if path == output.path else os.path.relpath(path, output.path)
    root = root_of(output.path)
    if (
        root is None
        or not output.is_tree
        or not output.names_content
        or taken.content.digest == output.digest
    ):
        return 0
    rows = Cache(root).rows(output.digest)
    if rows is not None:
        return len({row.relpath for row in (_below(rows, inside) if inside else rows)} - taken.names)
    return 0 if inside else max(0, (output.files or 0) - taken.content.files)


class _AbsentDep:
    def __init__(
        self,
        path: str,
        dep: PathSlot,
        output: Output,
        cache: Cache,
        store: Store,
        hashes: HashCache,
        told: set[str],
    ) -> None:
        self._path, self._dep, self._output, self._cache = path, dep, output, cache
        self._store, self._hashes, self._told = store, hashes, told
        self._inside = "" if path == output.path else os.path.relpath(path, output.path)

    def take(self) -> Snapshot:
        if self._inside:
            return self._part()
        size = self._store.head(object_key(self._output.digest))
        if size is None:
            return self._cached(self._rows_in_cache())
        output = self._output
        files = output.files if output.is_tree else 1
        held_size = output.size if output.is_tree else size
        return self._held(Content(output.digest, held_size or 0, files or 0, self._executables()))

    def _part(self) -> Snapshot:
        """Something inside of a directory that is tracked as a whole."""
        if not self._output.is_tree:
            raise InputError(f"{self._path}: {self._output.path} is a file, by {self._output.source}")
        rows, stored = self._cache.rows(self._output.digest), False
        if self._store.head(object_key(self._output.digest)) is not None:
            stored, rows = True, rows or self._rows_in_store()
        if rows is None:
            raise InputError(self._nobody())
        if not (part := _below(rows, self._inside)):
            raise InputError(
                f"{self._path}: is not in {self._output.path} as {self._output.source} has it; correct the "
                "key's value"
            )
        if not stored:
            return self._cached(part)
        if not part[0].relpath:
            size = self._store.head(object_key(part[0].md5))
            return self._cached(part) if size is None else self._held(Content(part[0].md5, size, 1))
        digest, data = manifest.dump(part)
        self._store.put(object_key(digest), data)  # all that it names is there: the whole directory is
        return self._held(Content(digest, 0, len(part)))

    def _rows_in_store(self) -> tuple[Row, ...] | None:
        incoming = self._store.get(object_key(self._output.digest))
        return None if incoming is None else manifest.load(bytes(incoming.read()), self._output.digest)

    def _rows_in_cache(self) -> Sequence[Row]:
        if not self._output.is_tree:
            return [Row("", self._output.digest)]
        if (rows := self._cache.rows(self._output.digest)) is None:
            raise InputError(self._nobody())
        return rows

    def _cached(self, rows: Sequence[Row]) -> Snapshot:
        try:
            taken = made_of(
                self._path,
                [(row.relpath, self._cache.file_of(row.md5), row.md5) for row in rows],
                self._executables(),
            )
        except OSError as exc:
            raise InputError(self._nobody()) from exc
        self._say(f"DVC's cache has it, and it is uploaded from there to {self._store.url}")
        return taken

    def _executables(self) -> tuple[str, ...]:
        return ("",) if self._output.is_executable and not self._output.is_tree else ()

    def _held(self, content: Content) -> Snapshot:
        self._hashes.remember(self._store.place, [content.digest])
        self._say(f"{self._store.url} has it, and jobs fetch it there")
        gone = (
            f"deps key {self._dep.key!r}: {self._path} is not here, and {self._store.url} has lost objects of it "
            f"({content.digest}, tracked by {_shown(self._output.source)}). Run "
            f"`dvc pull {_shown(self._output.path)}` where another remote or cache has it, and `dvc push`"
        )
        return held(self._path, content, gone)

    def _nobody(self) -> str:
        output = self._output
        text = (
            f"{self._path}: is not here; {_shown(output.source)} tracks it, but neither {self._store.url} nor DVC's "
            f"cache ({self._cache.path}) has all of it. Run `dvc pull {_shown(output.path)}`"
        )
        if output.remote:
            text += f". It has a remote of its own: s3_base_path=dvc://{output.remote} would let jobs fetch it there"
        return text

    def _say(self, where: str) -> None:
        if self._path not in self._told:
            self._told.add(self._path)
            log.info(
                "deps key %r: %s is not here; as %s tracks it, %s",
                self._dep.key,
                _shown(self._path),
                _shown(self._output.source),
                where,
            )


def _below(rows: Sequence[Row], inside: str) -> list[Row]:
    exact = [Row("", row.md5) for row in rows if row.relpath == inside]
    start = f"{inside}/"
    return exact or [Row(row.relpath[len(start) :], row.md5) for row in rows if row.relpath.startswith(start)]


def _shown(path: str) -> str:
    return os.path.relpath(path)
