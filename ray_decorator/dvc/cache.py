"""DVC's cache of a repository: what `dvc add`, `dvc commit` and `dvc pull` put there, named by md5."""

from __future__ import annotations

import os
from pathlib import Path

from ..content import manifest
from . import config
from .repository import DVC_DIR


class Cache:
    """The cache of the repository ``root`` (``cache.dir``, else ``.dvc/cache``)."""

    def __init__(self, root: str) -> None:
        section = config.load(root)["cache"]
        self.path = str(section.get("dir") or os.path.join(root, DVC_DIR, "cache"))
        kinds = section.get("type") or "copy"
        first = kinds.split(",")[0] if isinstance(kinds, str) else str(kinds[0])
        self.links_by_symlink = first.strip().lower() == "symlink"
        """Whether `dvc checkout` and `dvc commit` put symlinks into the workspace (the first of ``cache.type``)."""

    def file_of(self, digest: str) -> str:
        """Where the object of this name is, if it is there."""
        return f"{self.path}/{manifest.object_key(digest)}"

    def rows(self, digest: str) -> tuple[manifest.Row, ...] | None:
        """The files of a directory; None where its manifest is not there. Raises CorruptObjectError."""
        try:
            data = Path(self.file_of(digest)).read_bytes()
        except OSError:
            return None
        return manifest.load(data, digest)
