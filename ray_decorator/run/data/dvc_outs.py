"""Outs that have come home are ready for DVC: `dvc commit` copies nothing, and `dvc push` sends nothing.

what a ``.dvcignore`` names      comes home with the rest, and is nothing to DVC: the store also gets the manifest
                                 of the directory without it, which is how DVC names that
``cache.type`` symlink           DVC would copy each file into its cache and put a link in its place. So the cache
                                 gets each as a hard link, which DVC finds, checks (it is not read-only) and keeps;
                                 of one that was edited before that, DVC sees that its bytes are others
``cache.type`` reflink,symlink   the same where the cache's file system has no reflinks
``cache.type`` hardlink, reflink,
copy                             nothing is left to do: DVC links as it should, or copies as it must
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from ...content import manifest
from ...content.hashes.hash_cache import HashCache
from ...content.looking.selection import Selection
from ...content.manifest import Row, object_key
from ...core.errors import InputError, StoreError
from ...core.values.contents import Content
from ...dvc.ignore import Ignores
from ...dvc.repository import root_of
from ...dvc.running import told
from ...dvc.tracked.cache import Cache
from ...dvc.tracked.outputs import Outputs
from ...project.driver import started_at
from ...store.store import Store

log = logging.getLogger(__name__)


class DvcOuts:
    """Makes the outs of a batch ready. DVC's files are read once, its configuration too."""

    def __init__(self) -> None:
        self._caches: dict[str, Cache] = {}
        self._ignores, self._outputs = Ignores(), Outputs()

    def make_ready(
        self, content: Content, rows: Sequence[Row], home: Path, store: Store, hashes: HashCache
    ) -> None:
        """What the rows say is at ``home`` now, all of it."""
        path = os.path.abspath(home)
        if content.area or not rows or (root := root_of(path)) is None:
            return
        try:
            selection = self._ignores.selection(path) if content.is_tree else None
            is_ours = self._cache(root).links_by_symlink and self._is_cached(path)
        except (
            InputError
        ) as exc:  # a file that DVC does not take either, or an out that it ignores as a whole
            log.debug("%s is not made ready for DVC: %s", path, exc)
            return
        kept = rows if selection is None else _counting(rows, selection)
        if len(kept) < len(rows):
            _name_as_dvc_does(kept, path, store, hashes)
        if is_ours:
            _link_into(self._cache(root), kept, os.path.realpath(path))

    def _cache(self, root: str) -> Cache:
        if root not in self._caches:
            self._caches[root] = Cache(root)
        return self._caches[root]

    def _is_cached(self, path: str) -> bool:
        """Whether it is an out that DVC keeps in its cache, or lies in one."""
        if (stage := told(str(started_at()))) is not None:
            holders = [out for out in stage.outs if path == out or path.startswith(f"{out}/")]
            return bool(holders) and stage.uncached.isdisjoint(holders)
        tracked = self._outputs.nearby(path)
        return tracked is not None and tracked.is_cached


def _counting(rows: Sequence[Row], selection: Selection) -> list[Row]:
    """The rows that the selection leaves in; each folder is looked at once."""

    @functools.cache
    def at(folder: str) -> Selection | None:
        if not folder:
            return selection
        above, _, name = folder.rpartition("/")
        outer = at(above)
        return None if outer is None or outer.leaves_out(name, True) else outer.within(name)

    def counts(relpath: str) -> bool:
        folder, _, name = relpath.rpartition("/")
        inner = at(folder)
        return inner is not None and not inner.leaves_out(name, False)

    return [row for row in rows if counts(row.relpath)]


def _name_as_dvc_does(kept: Sequence[Row], path: str, store: Store, hashes: HashCache) -> None:
    digest, data = manifest.dump(kept)
    try:
        store.put(object_key(digest), data)
    except StoreError as exc:
        log.warning("%s is at home; `dvc push` has to send the list of its files: %s", path, exc)
    else:
        hashes.remember(store.place, [digest])


def _link_into(cache: Cache, rows: Sequence[Row], path: str) -> None:
    for row in rows:
        file = os.path.join(path, row.relpath) if row.relpath else path
        if os.path.islink(file):
            continue
        try:
            with contextlib.suppress(FileExistsError):
                os.link(file, cache.place_for(row.md5))
        except OSError as exc:  # another file system: there DVC has to copy
            log.debug("%s is no hard link into %s: %s", file, cache.path, exc)
            return
