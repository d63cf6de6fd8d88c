"""What a local path, or an object of a store, holds: named by its bytes, wherever it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extras:
    """What DVC's manifest of a directory cannot say. All paths are relative to it, with ``/``.

    ``private``: path -> permission bits that group and others do not have; of a directory, with a slash after it
    (``/`` is the whole), and ``""`` for a single file. ``folders`` are empty directories, ``links``: path -> where
    it leads, relative to its directory and inside the whole. A link to a file has a row in the manifest as well.
    """

    private: tuple[tuple[str, int], ...] = ()
    folders: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


NO_EXTRAS = Extras()


@dataclass(frozen=True, slots=True)
class Content:
    """What a local path holds, wherever it is.

    ``digest`` is its name in a store: the md5 of a file's bytes in hex, or that of a directory's
    manifest followed by ``.dir`` (DVC 3's rule). ``executables`` are the relative paths (``""`` for a
    single file) that carry an executable bit, which the manifest cannot tell, no more than the ``extras``. ``size``
    is in bytes. ``area``: the folder below ``ray_s3/`` where a store keeps it; "" for data, as DVC lays it out.
    """

    digest: str
    size: int
    files: int
    executables: tuple[str, ...] = ()
    extras: Extras = NO_EXTRAS
    area: str = ""

    @property
    def is_tree(self) -> bool:
        return self.digest.endswith(".dir")
