"""Which of the user's own files travel to the cluster, and how a worker imports from them.

    one tree   0/…, 1/…     the projects of the script, of sys.path's entries and of editable installs
               site/…       the files of distributions that came from no index

A project is the folder of the nearest pyproject.toml, setup.py, setup.cfg or .git at or above a file, else
the folder that the file is in (roots.py). What of it travels: walk.py. Where a project is in a DVC repository, it has
its place in that, and DVC's files of the repository travel.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import InputError
from ..core.machine.directories import cache_home, node_root
from . import roots as rooting
from .files.hydra_outputs import HYDRAS_FOLDERS
from .files.include import Include
from .files.limits import Limits
from .files.walk import Walk
from .imports import Imported, imported
from .roots import Roots, is_in

if TYPE_CHECKING:
    from ..environment.installed import Local

log = logging.getLogger(__name__)

_SITE = "site"
_MANY_FILES = 20_000
_MANY_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class Project:
    """What travels. ``files`` are pairs of a path in the tree and an absolute one on this disk, sorted.

    Paths in the tree have forward slashes. ``sys_path``, ``packages`` and ``cwd`` are as in `model.Code`;
    what they name need not hold a file. ``roots`` are the folders ``0``, ``1``, …; ``projects`` are the projects'
    folders, which may be in a root that is a DVC repository. ``size`` is in bytes.
    ``secrets`` are absolute paths of files that are kept back for their names, ``unused`` the lines of
    ``code_include`` that match no file, ``earlier`` what is left out since earlier runs wrote it, ``staying``
    since it stays at home, and ``missed`` what of that this process has imported.
    """

    files: tuple[tuple[str, str], ...]
    sys_path: tuple[str, ...]
    packages: Mapping[str, str]
    cwd: str | None
    roots: tuple[Path, ...]
    projects: tuple[Path, ...]
    size: int
    secrets: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()
    staying: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()


def collect(
    *,
    main: Path | None,
    cwd: Path,
    sys_path: Sequence[str],
    left_out: Collection[Path],
    local: Sequence[Local],
    include: Sequence[str] = (),
    earlier: Collection[str] = (),
    stays: Callable[[str, bool], bool] | None = None,
    of_dvc: Callable[[str], Iterable[str]] = lambda repository: (),
    quiet: bool = False,
) -> Project:
    """The code of the driver's script ``main``, of the user's own entries of sys.path, and of ``local``.

    ``left_out``: files and folders that do not travel (deps, outs, job directories); one that a whole
    project is in does not count. ``earlier``: real paths that earlier runs wrote, which do not travel either, unless
    git tracks them or this process imports from them. ``include``: lines that name files which travel in any case
    (include.py). ``stays``: whether a path, and whether it is a folder, stays at home though no line of a .gitignore
    names it; what git tracks, what is included, and the script itself travel all the same. ``of_dvc``: absolute paths
    of DVC's own files in a repository, which travel though it is more than the project. ``quiet``: it is not to
    travel, so nothing is said of how much it is. Raises InputError naming every file that cannot be read.
    """
    script, here = rooting.script_folder(main), os.path.realpath(cwd)
    entries = rooting.user_folders(sys_path)
    roots = rooting.find(script, here, entries, local)
    # a folder that Python imports from is code, also where it lies in one that git ignores
    starts = list(dict.fromkeys([*entries, *roots.sources, *filter(os.path.isdir, roots.packages.values())]))
    loaded = imported(tuple(os.path.join(path, "") for path in rooting.installation_folders()))
    in_use = _with_all_above([*loaded.files, *loaded.links, *starts, here])
    limits = Limits(
        left_out=frozenset(os.path.realpath(path) for path in left_out),
        closed=_closed([*roots.folders, here, *([script] if script else [])], loaded),
        never_whole=rooting.never_whole(),
        in_use=in_use,
        earlier=frozenset(earlier) - in_use - set(roots.folders),
        stays=_but_for(main, stays),
    )
    wanted = Include(include)
    sizes, left = _walk(roots, starts, loaded, limits, wanted)
    for repository in roots.repositories:
        sizes.update(_chosen(repository, of_dvc(repository), limits))
    files = {in_tree: path for path in sizes if (in_tree := roots.tree_path(path))}
    files.update(_local_files(local))
    packages = _packages(roots, files)
    on_path = [in_tree for entry in entries if (in_tree := roots.code_path(entry)) is not None]
    project = Project(
        files=tuple(sorted(files.items())),
        sys_path=(*dict.fromkeys(on_path), *([_SITE] if _has_site(files) else [])),
        packages=packages,
        cwd=roots.code_path(here),
        roots=tuple(map(Path, roots.tops)),
        projects=tuple(map(Path, roots.folders)),
        size=sum(sizes[path] if path in sizes else os.path.getsize(path) for path in files.values()),
        secrets=tuple(sorted(left.secrets)),
        unused=wanted.unused,
        earlier=tuple(sorted(left.earlier)),
        staying=tuple(sorted(left.staying)),
        missed=tuple(sorted(left.missed)),
    )
    if not quiet:
        _warn_if_large(project)
    return project


def is_large(project: Project) -> bool:
    """Whether more travels than code usually is: over 20,000 files, or 200 MB."""
    return len(project.files) > _MANY_FILES or project.size > _MANY_BYTES


def describe(project: Project, n: int = 10) -> list[tuple[str, int]]:
    """The largest ``n`` files, as `shown`, the largest first, each with its bytes."""
    sized = []
    for _, path in project.files:
        try:
            sized.append((os.path.getsize(path), path))
        except OSError:  # gone meanwhile
            continue
    largest = sorted(sized, key=lambda item: (-item[0], item[1]))[:n]
    return [(shown(path, project.projects), size) for size, path in largest]


@dataclass(frozen=True, slots=True)
class _Left:
    """Absolute paths of what does not travel, as of `Project`."""

    secrets: set[str] = field(default_factory=set)
    earlier: set[str] = field(default_factory=set)
    staying: set[str] = field(default_factory=set)
    missed: set[str] = field(default_factory=set)


def _walk(
    roots: Roots, starts: Sequence[str], loaded: Imported, limits: Limits, include: Include
) -> tuple[dict[str, int], _Left]:
    """Absolute path -> size of all that travels of the roots, and what does not."""
    problems: list[str] = []
    sizes: dict[str, int] = {}
    left = _Left()
    elsewhere = [*roots.folders, *([roots.skipped] if roots.skipped else [])]
    for root in roots.folders:
        walk = Walk(root, limits, problems)
        if root in roots.shallow:
            walk.surface(loaded, [other for other in elsewhere if other != root and is_in(other, root)])
        else:
            walk.whole(loaded, [start for start in starts if start != root and is_in(start, root)])
        walk.included(include, deep=root not in roots.shallow)
        sizes.update(walk.files)
        left.secrets.update(walk.secrets)
        left.earlier.update(walk.earlier)
        left.staying.update(walk.staying)
        left.missed.update(walk.missed)
    if problems:
        raise InputError(tuple(sorted(problems)))
    return sizes, left


def _chosen(root: str, files: Iterable[str], limits: Limits) -> dict[str, int]:
    """Those of these files in the root that may travel, with their sizes."""
    walk = Walk(root, limits, [])
    walk.also(files)
    return walk.files


def _but_for(main: Path | None, stays: Callable[[str, bool], bool] | None) -> Callable[[str, bool], bool]:
    script = None if main is None else os.path.realpath(main)
    return lambda path, is_folder: path != script and stays is not None and stays(path, is_folder)


def _closed(started: Iterable[str], loaded: Imported) -> frozenset[str]:
    """Folders that hold no code of the user's; Hydra's own are below the folders it was ``started`` from."""
    hydras = {os.path.join(folder, name) for folder in started for name in HYDRAS_FOLDERS}
    packages = {path for path in hydras if os.path.isfile(os.path.join(path, "__init__.py"))}
    packages.update(map(os.path.dirname, loaded.files))
    ours = (cache_home(), node_root())  # a CI machine keeps caches in the project, to find them again
    others = {os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, tempfile.gettempdir(), *ours)}
    return rooting.installation_folders() | (hydras - packages) | others


def _with_all_above(paths: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for path in paths:
        while path not in found:
            found.add(path)
            path = os.path.dirname(path)
    return frozenset(found)


def _local_files(local: Sequence[Local]) -> Iterator[tuple[str, str]]:
    for dist in local:
        for relpath, path in dist.files:
            # a distribution's scripts and data are recorded as ../../bin/x: nothing imports them
            if ".." not in relpath.split("/") and not relpath.endswith(".pyc") and os.path.isfile(path):
                yield f"{_SITE}/{relpath}", str(path)


def _packages(roots: Roots, files: dict[str, str]) -> dict[str, str]:
    """Import name -> its path in the tree. A lone module outside of all roots is added to ``files``."""
    in_tree = {}
    for name, path in roots.packages.items():
        if roots.skipped and is_in(path, roots.skipped):
            continue
        relpath = roots.code_path(path)
        if relpath is None and os.path.isfile(path):
            relpath = f"{_SITE}/{os.path.basename(path)}"
            files[relpath] = path
        if relpath is not None:
            in_tree[name] = relpath
    return in_tree


def _has_site(files: Iterable[str]) -> bool:
    return any(path.startswith(f"{_SITE}/") for path in files)


def shown(path: str, roots: Sequence[Path]) -> str:
    """A path below the project's root; where there are several roots, the whole path."""
    if len(roots) == 1 and is_in(path, str(roots[0])):
        return os.path.relpath(path, roots[0])
    return path


def _warn_if_large(project: Project) -> None:
    if not is_large(project):
        return
    largest = ", ".join(f"{name} ({size / 1e6:,.1f} MB)" for name, size in describe(project, 3))
    log.warning(
        "%s files of %s MB travel to the cluster as the project's code; the largest: %s. "
        "Add what is no code to .gitignore, or send none: code: none.",
        f"{len(project.files):,}",
        f"{project.size / 1e6:,.0f}",
        largest,
    )
