"""The values that flow through the house. Each is made once, frozen, and moves forward.

    Call                              front door -> engine
    Job(deps: Dep, outs: Out)         engine -> worker
    Receipt(outs: Content)            worker -> driver
    Outcome                           engine -> front door
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Slot = tuple[str | int, ...]
"""Where a path stands in a call: ``("kwargs", "config", "data", "path")`` or ``("args", 0, …)``."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a local path holds, wherever it is.

    ``digest`` is its name in a store: the md5 of a file's bytes in hex, or that of a directory's
    manifest followed by ``.dir`` (DVC 3's rule). ``executables`` are the relative paths (``""`` for a
    single file) that carry an executable bit, which the manifest cannot tell. ``size`` is in bytes.
    """

    digest: str
    size: int
    files: int
    executables: tuple[str, ...] = ()

    @property
    def is_tree(self) -> bool:
        return self.digest.endswith(".dir")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Frozen AWS credentials; they travel with a job and are never shown."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Location:
    """All that a process needs to open a store: resolved once on the driver, sent to each worker.

    ``url`` is ``s3://bucket/prefix`` or ``file:///directory``; the rest is for S3: endpoint (None for
    AWS's own), region, and the PEM text of a custom CA bundle. ``credentials`` None means
    that requests are not signed.
    """

    url: str
    endpoint: str | None = None
    region: str | None = None
    ca_bundle: str | None = field(repr=False, default=None)
    credentials: Credentials | None = None
