"""Why a module that a worker does not find is at home: what keeps it there, and what sends it.

Found on the driver, when a job has failed: a worker does not know what stayed behind.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from ..content.looking import gitignore
from ..core.serialization.failures import add_note
from .collect import Project, shown
from .files import git
from .roots import is_in

_SUFFIXES = importlib.machinery.all_suffixes()
_FROM = re.compile(r"cannot import name '(\w+)' from '([\w.]+)'")


def explain(
    error: BaseException,
    found: Project | None,
    entries: Sequence[str],
    left_out: Collection[Path],
    stays: Callable[[str, bool], str | None] = lambda path, is_folder: None,
) -> None:
    """Add to ``error`` a note for each module that it, or what caused it, did not find and that is at home.

    ``found`` is the code that travelled, None where none was to; ``entries`` are the driver's own entries of
    sys.path, ``left_out`` the deps and outs. ``stays``: what keeps a path at home that git does not ignore.
    """
    for module in dict.fromkeys(_missing(error)):
        path = _at_home(module, [*entries, *_editable(module, found)], _taken(found))
        if path is not None:
            why = _why(path, found, left_out, stays)
            add_note(error, f"Module {module!r} is at home, and did not travel: {why}")


def explain_packages(error: BaseException, left_out: Collection[str], why: str) -> None:
    """The same for modules of packages that jobs are not given: ``left_out`` are their normalised names."""
    if not left_out:
        return
    for module in dict.fromkeys(name.partition(".")[0] for name in _missing(error)):
        for package in _packages_with(module):
            if canonicalize_name(package) in left_out:
                add_note(
                    error,
                    f"Package {package!r}, which has the module {module!r}, is at home, and jobs are not given it: "
                    f"{why}. List it in pyproject.toml's dependencies, or set packages to a mapping that does not "
                    "leave it out, such as {exclude: []}",
                )


def _packages_with(module: str) -> Sequence[str]:
    try:
        is_here = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a module that somebody has made by hand
        is_here = True
    return _packages().get(module, ()) if is_here else ()


@functools.cache
def _packages() -> Mapping[str, Sequence[str]]:
    """Module -> the packages that have it, by all installed metadata, which takes a while."""
    return importlib.metadata.packages_distributions()


def _missing(error: BaseException) -> Iterator[str]:
    """The modules that an import did not find, the outermost error's first."""
    pending, seen = [error], set[int]()
    while pending:
        at = pending.pop(0)
        if id(at) in seen:
            continue
        seen.add(id(at))
        if isinstance(at, ImportError):
            if (name := _FROM.search(str(at))) is not None:
                yield f"{name[2]}.{name[1]}"
            elif at.name:
                yield at.name
        inner = at.exceptions if isinstance(at, BaseExceptionGroup) else ()
        pending += [each for each in (at.__cause__, at.__context__, *inner) if each is not None]


def _taken(found: Project | None) -> frozenset[str]:
    return frozenset() if found is None else frozenset(path for _, path in found.files)


def _editable(module: str, found: Project | None) -> Iterator[str]:
    """The folder in which an editable install has the package."""
    in_tree = found.packages.get(module.partition(".")[0]) if found else None
    if found is not None and in_tree is not None:
        index, _, relpath = in_tree.partition("/")
        if index.isdecimal():
            yield os.path.dirname(os.path.join(found.roots[int(index)], relpath))


def _at_home(module: str, entries: Sequence[str], taken: Collection[str]) -> str | None:
    """The module's file, or its folder; None where there is none, or where it has travelled."""
    relpath = module.replace(".", "/")
    for entry in entries:
        base = os.path.join(entry, relpath)
        files = [f"{base}{middle}{suffix}" for middle in ("/__init__", "") for suffix in _SUFFIXES]
        path = next(filter(os.path.isfile, files), None)
        if path is not None:
            # what only a link to a folder leads to has travelled under another name
            by_name = os.path.join(os.path.realpath(entry), os.path.relpath(path, entry))
            return None if by_name in taken or path in taken else by_name
        if os.path.isdir(base) and not any(is_in(each, base) for each in taken) and _has_module(base):
            return base
    return None


def _has_module(folder: str) -> bool:
    return any(name.endswith(tuple(_SUFFIXES)) for _, _, names in os.walk(folder) for name in names)


def _why(
    path: str,
    found: Project | None,
    left_out: Collection[Path],
    stays: Callable[[str, bool], str | None],
) -> str:
    if found is None:
        return f"{path}. No code travels with code: none"
    if any(is_in(path, str(each)) for each in left_out):
        return f"{path} is, or is in, a dep or an out of a job. Move it out of there"
    reason = "it is none of the project's code"
    if os.path.realpath(path) in _taken(found):
        reason = "a link to a folder leads there"
    elif path in found.secrets or any(is_in(each, path) for each in found.secrets):
        reason = "its name is one that secrets have"
    elif any(is_in(path, each) or is_in(each, path) for each in found.earlier):
        reason = "an earlier run wrote it there"
    elif (
        line := _ignoring(path, found.projects) or stays(os.path.realpath(path), os.path.isdir(path))
    ) is not None:
        reason = f"{line} ignores it"
    whole = os.path.dirname(path) + "/" if os.path.basename(path).startswith("__init__.") else path
    return f"{path} ({reason}). {_cure(whole, found.projects)}"


def _ignoring(path: str, roots: Sequence[Path]) -> str | None:
    if (top := git.repository(os.path.dirname(path), ("/",))) is not None:
        return git.ignoring(path, top)
    root = next((str(root) for root in roots if is_in(path, str(root))), None)
    return gitignore.ignoring(path, root) if root is not None else None


def _cure(path: str, roots: Sequence[Path]) -> str:
    root = next((root for root in roots if is_in(path, str(root))), None)
    if root is None:
        return "Put it into the project"
    line = "/" + shown(path.rstrip("/"), [root]) + ("/" if path.endswith("/") or os.path.isdir(path) else "")
    return f"Send it with code_include: ['{line}']"
