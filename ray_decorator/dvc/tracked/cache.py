"""DVC's cache of a repository: what `dvc add`, `dvc commit` and `dvc pull` put there, named by md5."""

from __future__ import annotations

import functools
import os
from itertools import islice
from pathlib import Path

from ...content import manifest, shared_folders
from ...content.hashes.inodes import are_lasting
from ...content.placing import reflink
from .. import config
from ..repository import DVC_DIR

_MANY = 2000  # objects: fewer are asked for one by one as fast, in 256 folders
_TICK_NS = 100_000_000  # clocks of file systems tick, every 10 ms or oftener


class Cache:
    """The cache of the repository ``root`` (``cache.dir``, else ``.dvc/cache``)."""

    def __init__(self, root: str) -> None:
        section = config.load(root)["cache"]
        self.path = str(section.get("dir") or os.path.join(root, DVC_DIR, "cache"))
        self._is_shared = str(section.get("shared")).lower() == "group"
        kinds = section.get("type") or "copy"
        self._kinds = [str(kind).strip() for kind in (kinds.split(",") if isinstance(kinds, str) else kinds)]

    @functools.cached_property
    def links_by_symlink(self) -> bool:
        """Whether `dvc checkout` and `dvc commit` put symlinks into the workspace.

        DVC takes the first of ``cache.type`` that works (dvc-objects: ``test_links``). This is said of a workspace
        on the file system of the cache, where hard links work.
        """
        if "symlink" not in self._kinds:
            return False
        before = self._kinds[: self._kinds.index("symlink")]
        return not before or (set(before) == {"reflink"} and not self._has_reflinks())

    def _has_reflinks(self) -> bool:
        try:
            shared_folders.make(self.path, shared=self._is_shared)
            return reflink.works_in(self.path)
        except OSError:  # then nothing can be put into it either
            return True

    def file_of(self, digest: str) -> str:
        """Where the object of this name is, if it is there."""
        return f"{self.path}/{manifest.object_key(digest)}"

    def place_for(self, digest: str) -> str:
        """As `file_of`, with the folder made, which the group may write to where ``cache.shared`` says so.

        Raises OSError.
        """
        file = self.file_of(digest)
        shared_folders.make(os.path.dirname(file), shared=self._is_shared)
        return file

    def inodes(self, wanted: int, before: int) -> tuple[int, dict[str, int]]:
        """The cache's device, and inode numbers of objects that were there ``before`` (ns), by their names.

        They cost a third of what it takes to ask for each object. Those that are not named have to be asked for: all,
        where few are ``wanted``, or where directories do not tell for sure; others, where the cache holds many more.
        """
        place, found = f"{self.path}/{manifest.PREFIX}", dict[str, int]()
        try:
            device = os.stat(place).st_dev
            if wanted < _MANY or not are_lasting(device, place):
                return device, {}
            for folder in os.listdir(place):
                with os.scandir(f"{place}/{folder}") as entries:
                    inodes = {
                        folder + entry.name: entry.inode() for entry in islice(entries, wanted // 100 + 1)
                    }
                status = os.stat(f"{place}/{folder}")  # after: what came meanwhile shows
                if status.st_dev == device and status.st_mtime_ns < before - _TICK_NS:
                    found.update(inodes)
        except OSError:
            return 0, {}
        return device, found

    def rows(self, digest: str) -> tuple[manifest.Row, ...] | None:
        """The files of a directory; None where its manifest is not there. Raises CorruptObjectError."""
        try:
            data = Path(self.file_of(digest)).read_bytes()
        except OSError:
            return None
        return manifest.load(data, digest)
