"""Which folders hold the user's own code, and the path that each of them has in the tree that travels."""

from __future__ import annotations

import functools
import os
import re
import site
import sys
import sysconfig
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.paths import upwards

if TYPE_CHECKING:
    from ..environment.installed import Local

_MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
_DVCS = ".dvc"  # a DVC repository's; where that has no git, it is the only marker
_OWN_NAME = re.compile(r"^name\s*=\s*ray-decorator\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Roots:
    """The projects' ``folders``, as absolute real paths; none is inside one taken whole.

    ``tops`` are the folders ``0``, ``1``, … of the tree: a project's own, or the DVC repository that it is in, of
    which DVC's files travel as well. ``shallow`` are folders that are never taken whole; ``sources`` the project
    folders, and ``packages`` import name -> folder or file, of editable installs. ``skipped`` is this package's own
    checkout if no code of the user's is in it: it reaches the workers in another way.
    """

    folders: tuple[str, ...]
    tops: tuple[str, ...]
    shallow: frozenset[str]
    sources: tuple[str, ...]
    packages: Mapping[str, str]
    skipped: str | None

    def tree_path(self, path: str) -> str | None:
        """The real ``path`` in the tree, with forward slashes; None if it is in no folder of it."""
        top = _innermost(path, self.tops)
        if top is None:
            return None
        relpath = path[len(os.path.join(top, "")) :]
        index = self.tops.index(top)
        return f"{index}/{relpath}" if relpath else f"{index}"

    def code_path(self, path: str) -> str | None:
        """As `tree_path`, but None also for what is deeper in a root that is not taken whole."""
        root = _innermost(path, self.folders)
        return None if root in self.shallow and path != root else self.tree_path(path)

    @property
    def repositories(self) -> tuple[str, ...]:
        """Those of ``tops`` of which only projects in them, and DVC's files, travel."""
        return tuple(top for top in self.tops if top not in self.folders)


def find(script: str | None, cwd: str, entries: Sequence[str], local: Sequence[Local]) -> Roots:
    """The roots of a driver's script's folder, of sys.path's ``entries`` and of editable installs.

    ``cwd`` counts where there is neither a script nor an entry, as in some interactive sessions.
    """
    own = _own_checkout()
    skipped = own if own and not any(is_in(path, own) for path in (script, cwd) if path) else None
    sources = tuple(os.path.realpath(dist.source) for dist in local if dist.source is not None)
    packages = {name: os.path.realpath(path) for dist in local for name, path in dist.packages.items()}
    never = never_whole()
    named = [folder for folder in (script, *entries) if folder not in (None, skipped)]
    wanted = [_project_of(folder, never) for folder in (named or [cwd])]
    wanted += [source for source in sources if source != skipped]
    for path in packages.values():
        covered = [folder for folder in (*wanted, skipped) if folder and folder not in never]
        if os.path.isdir(path) and not any(is_in(path, folder) for folder in covered):
            wanted.append(path)
    whole = set(wanted) - never
    outermost = dict.fromkeys(
        root for root in wanted if not any(is_in(root, other) for other in whole - {root})
    )
    tops = dict.fromkeys(root if root in never else _repository_of(root, never) for root in outermost)
    return Roots(tuple(outermost), tuple(tops), never & set(outermost), sources, packages, skipped)


def script_folder(main: Path | None) -> str | None:
    """The real folder of the driver's script; None for an interactive session and for a console script."""
    if main is None:
        return None
    real = os.path.dirname(os.path.realpath(main))
    if any(_is_installed(folder) for folder in (real, os.path.dirname(os.path.abspath(main)))):
        return None
    return real


def user_folders(sys_path: Sequence[str]) -> list[str]:
    """The real folders of sys.path's entries, but for installed packages."""
    real = dict.fromkeys(os.path.realpath(entry) for entry in sys_path)
    return [entry for entry in real if os.path.isdir(entry) and not _is_installed(entry)]


def never_whole() -> frozenset[str]:
    """Nobody's project: the home directory, which dotfiles may make a repository, all above it, and /tmp."""
    home = Path(os.path.realpath(os.path.expanduser("~")))
    return frozenset({"/", str(home), *map(str, home.parents), os.path.realpath(tempfile.gettempdir())})


@functools.cache
def installation_folders() -> frozenset[str]:
    """The folders of Python, of its packages and of their console scripts, as named and as real paths."""
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")}
    paths |= {*site.getsitepackages(), site.getusersitepackages(), os.path.join(site.getuserbase(), "bin")}
    paths.add(os.path.dirname(sys.executable))
    named = {os.path.abspath(path) for path in paths if path}
    return frozenset(named | {os.path.realpath(path) for path in named})


def is_in(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or is below it."""
    return path == folder or path.startswith(os.path.join(folder, ""))


def _project_of(folder: str, never: Collection[str]) -> str:
    for at in upwards(folder, never):
        if any(os.path.lexists(os.path.join(at, marker)) for marker in _MARKERS):
            return at
    return _repository_of(folder, never)


def _repository_of(folder: str, never: Collection[str]) -> str:
    """The DVC repository that the folder is in, else the folder itself."""
    return next((at for at in upwards(folder, never) if os.path.isdir(os.path.join(at, _DVCS))), folder)


def _innermost(path: str, folders: Sequence[str]) -> str | None:
    return max((folder for folder in folders if is_in(path, folder)), key=len, default=None)


def _is_installed(folder: str) -> bool:
    if {"site-packages", "dist-packages"} & set(Path(folder).parts):
        return True
    return any(is_in(folder, path) for path in installation_folders())


def _own_checkout() -> str | None:
    """The source checkout that this very package runs from, if it does."""
    folder = Path(__file__).resolve().parents[2]
    try:
        text = (folder / "setup.cfg").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    return str(folder) if _OWN_NAME.search(text) else None
