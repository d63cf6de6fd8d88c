"""Bytecode beside the user's code is not written: a later job is handed the code as it is.

All other modules keep theirs where Python keeps it: a large package is compiled once, and not by each process.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from typing import Any


class _Unwritten(SourceFileLoader):
    def set_data(self, path: str, data: Any, **options: Any) -> None:
        """What Python calls to keep bytecode (`importlib.abc.SourceLoader.set_data`): it is let go."""


def leave_unwritten(folder: str | os.PathLike[str]) -> None:
    """Import what lies below the folder without writing there, in this process.

    Processes that it starts write no bytecode at all; what is there already, they read.
    """
    below = os.path.join(folder, "")
    finder = FileFinder.path_hook(
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (_Unwritten, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )

    def hook(path: str) -> Any:
        if not os.path.join(path, "").startswith(below):
            raise ImportError("not below the folder", path=path)
        return finder(path)

    sys.path_hooks.insert(0, hook)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
