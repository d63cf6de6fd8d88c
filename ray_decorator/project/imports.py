"""Where this process's modules came from."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Imported:
    """Where this process's modules came from, but for installed ones, as absolute paths.

    ``files`` are real paths; ``links`` those links to folders, in real folders, that packages were found at.
    """

    files: frozenset[str]
    links: frozenset[str]


def imported(installed: tuple[str, ...]) -> Imported:
    """What this process has imported, but for what lies in the folders ``installed`` (with a slash each)."""
    real = functools.cache(os.path.realpath)  # of folders: many modules share one
    files: set[str] = set()
    links: set[str] = set()
    for module, file in _modules():
        if file.startswith(installed):
            continue
        folder, name = os.path.split(os.path.abspath(file))
        path = os.path.join(real(folder), name)
        if not path.startswith(installed):
            files.add(path)
            package = module if name.startswith("__init__.") else module.rpartition(".")[0]
            links.update(_links(package, folder, real))
    return Imported(frozenset(files), frozenset(links))


def _modules() -> Iterator[tuple[str, str]]:
    for name, module in sys.modules.copy().items():  # in one step: other threads import
        try:
            # a lazy module would load itself if asked in the usual way
            file = object.__getattribute__(module, "__dict__").get("__file__")
        except AttributeError:
            continue
        if isinstance(file, str):
            yield name, file


def _links(package: str, folder: str, real: Callable[[str], str]) -> Iterator[str]:
    """The links on the way from an entry of sys.path to the ``folder`` in which it has the ``package``."""
    relpath = package.replace(".", "/")
    entry = folder.removesuffix(f"/{relpath}")
    if not package or entry == folder or real(folder) == os.path.join(real(entry), relpath):
        return
    at = real(entry)
    for part in relpath.split("/"):
        at = os.path.join(at, part)
        if os.path.islink(at):
            yield at
            at = os.path.realpath(at)
