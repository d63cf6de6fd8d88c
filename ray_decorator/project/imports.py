"""Where this process's modules came from."""

from __future__ import annotations

import functools
import importlib.machinery
import os
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

_MAIN = ("__main__", "__mp_main__")


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


@functools.lru_cache(maxsize=1)
def loaded_by_path(installed: frozenset[str], entries: tuple[str, ...], _: int) -> dict[str, str]:
    """The modules that the app has loaded from a file by a name that does not lead to it, with their real paths.

    ``installed`` are folders whose modules are none of the user's, ``entries`` is sys.path. The answer is kept for as
    long as these, and the number of modules, are the same.
    """
    folders = tuple(os.path.join(folder, "") for folder in installed)
    known = {os.path.abspath(entry) for entry in entries}
    return {
        name: os.path.realpath(file)
        for name, file in _modules()
        if name not in _MAIN and not file.startswith(folders) and not _is_found(name, file, known)
    }


def _is_found(name: str, file: str, entries: Collection[str]) -> bool:
    """Whether importing ``name`` finds a file; most often it is in its place below an entry of sys.path."""
    relpath = os.path.join("", *name.split("."))
    base = os.path.splitext(os.path.abspath(file))[0].removesuffix(f"{os.sep}__init__")
    if base.endswith(f"{os.sep}{relpath}") and base.removesuffix(f"{os.sep}{relpath}") in entries:
        return True
    parent = name.rpartition(".")[0]
    path = getattr(sys.modules.get(parent), "__path__", None) if parent else None
    return importlib.machinery.PathFinder.find_spec(name, path) is not None


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
