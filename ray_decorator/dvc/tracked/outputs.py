"""What DVC tracks in a repository: the outs of its ``.dvc`` files, and those that its ``dvc.lock`` files record.

DVC reads none of these files that it or git ignores, or that is inside an output (dvc: ``repo/index.py``). It leaves
the lock entries of stages and outs that are no longer in ``dvc.yaml``: such entries do not count.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ...content.looking.gitignore import IgnoreFiles
from ...core.values.model import PathSlot
from ..ignore import IgnoreFolder, Ignores, gits_rules
from ..repository import root_of
from . import stages
from .recorded import LOCK, Output, recorded

_NEVER = (".dvc", ".git", ".hg")  # folders that DVC does not look into


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder that DVC looks into. ``data`` are the paths of the outputs of its files and of the folders above.

    ``selection`` and ``git`` say what does not count in it, to DVC and to git. ``files`` are DVC's own in it.
    """

    path: str
    files: tuple[str, ...]
    selection: IgnoreFolder
    git: IgnoreFiles | None
    outputs: tuple[Output, ...]
    data: frozenset[str]


class Outputs:
    """The outputs of the repositories of this disk; each file is read once."""

    def __init__(self) -> None:
        self._folders: dict[str, _Folder | None] = {}
        self._all: dict[str, list[Output]] = {}

    def tracking(self, path: str | os.PathLike[str]) -> Output | None:
        """What tracks the path, or a directory that it is in; None where nothing does.

        Raises InputError for a DVC file that cannot be read.
        """
        path = os.path.abspath(path)
        root = root_of(path)
        if root is None:
            return None
        return _covering(path, self._near(path, root)) or _covering(path, self.all_of(root))

    def nearby(self, path: str | os.PathLike[str]) -> Output | None:
        """As `tracking`, but for DVC files that are not in a folder above the path: no other is looked for."""
        path = os.path.abspath(path)
        root = root_of(path)
        return None if root is None else _covering(path, self._near(path, root))

    def at_or_below(self, path: str, files: Iterable[str]) -> list[Output]:
        """The one that covers the path, else those below it: by DVC files above it, and on the way to the files."""
        root = root_of(path)
        if root is None:
            return []
        near = list(self._near(path, root))
        if (covering := _covering(path, near)) is not None:
            return [covering]
        inside: set[str] = set()
        for folder in {os.path.dirname(file) for file in files}:
            while folder not in inside and _is_below(folder, path):
                inside.add(folder)
                folder = os.path.dirname(folder)
        found = [*near, *(output for each in sorted(inside) for output in self._in(each, root))]
        return [one for one in found if one.path != path and _is_below(one.path, path)]

    def absent_from(self, folder: str, files: Iterable[str]) -> list[Output]:
        """What the ``.dvc`` files among ``files``, paths below the folder, track and is not here."""
        folders = {os.path.dirname(os.path.join(folder, name)) for name in files if name.endswith(".dvc")}
        roots = {each: root for each in folders if (root := root_of(each)) is not None}
        found = [output for each in sorted(roots) for output in self._in(each, roots[each])]
        return [one for one in found if not os.path.lexists(one.path) and not one.source.endswith(LOCK)]

    def is_data(self, path: str, root: str) -> bool:
        """Whether the path is an output that DVC's cache keeps, by a DVC file in a folder above it."""
        folder = os.path.dirname(path)
        known = self._folder(folder, root)
        return (
            known is not None
            and path in known.data
            and any(one.path == path and one.is_cached for one in self._near(path, root))
        )

    def untracked(self, deps: Iterable[PathSlot]) -> list[PathSlot]:
        """The deps but for those that are not here, and that DVC tracks."""
        return [dep for dep in deps if os.path.exists(dep.value) or self.tracking(dep.value) is None]

    def all_of(self, root: str) -> list[Output]:
        """All outputs of the repository ``root``, as DVC finds them: no file that it ignores counts."""
        if root not in self._all:
            self._all[root] = [one for each in self._walked(root, root, set()) for one in each.outputs]
        return self._all[root]

    def files_of(self, root: str) -> list[str]:
        """DVC's own files in the repository ``root``: ``dvc.yaml``, ``dvc.lock``, ``*.dvc``."""
        return [file for each in self._walked(root, root, set()) for file in each.files]

    def _near(self, path: str, root: str) -> Iterator[Output]:
        """Those of the folders above, where they nearly always are."""
        folder = os.path.dirname(path) if path != root else root
        while True:
            yield from self._in(folder, root)
            if folder == root:
                return
            folder = os.path.dirname(folder)

    def _walked(self, path: str, root: str, data: set[str]) -> Iterator[_Folder]:
        """The folder and those below that DVC looks into. ``data`` are the paths of all outputs so far."""
        folder = self._folder(path, root)
        if folder is None:
            return
        yield folder
        data.update(one.path for one in folder.outputs)
        below = [entry.path for entry in _entries(path) if entry.is_dir(follow_symlinks=False)]
        for each in [each for each in sorted(below) if each not in data]:
            yield from self._walked(each, root, data)

    def _in(self, path: str, root: str) -> tuple[Output, ...]:
        folder = self._folder(path, root)
        return () if folder is None else folder.outputs

    def _folder(self, path: str, root: str) -> _Folder | None:
        """The folder of the repository ``root``; None where DVC does not look into it."""
        if path not in self._folders:
            self._folders[path] = self._opened(path, root)
        return self._folders[path]

    def _opened(self, path: str, root: str) -> _Folder | None:
        if path == root:
            selection = Ignores().selection(root)
            assert selection is not None
            return _opened(path, selection, gits_rules(root), frozenset())
        above, name = self._folder(os.path.dirname(path), root), os.path.basename(path)
        if above is None or name in _NEVER or path in above.data or above.selection.leaves_out(name, True):
            return None
        if above.git is not None and above.git.ignores(path, True):
            return None
        return _opened(path, above.selection.within(name), above.git, above.data)


def _opened(path: str, selection: IgnoreFolder, outer: IgnoreFiles | None, data: frozenset[str]) -> _Folder:
    git = None if outer is None else outer.within(path)
    here = {
        entry.name
        for entry in _entries(path)
        if _is_dvcs(entry.name)
        and entry.is_file()
        and not (
            selection.leaves_out(entry.name, False) or (git is not None and git.ignores(entry.path, False))
        )
    }
    # DVC comes to a lock by the file that it belongs to
    names = [name for name in sorted(here) if name != stages.FILE and (name != LOCK or stages.FILE in here)]
    outputs = tuple(output for name in names for output in recorded(os.path.join(path, name)))
    files = tuple(os.path.join(path, name) for name in sorted(here))
    return _Folder(path, files, selection, git, outputs, data | {one.path for one in outputs})


def _is_dvcs(name: str) -> bool:
    return name in (LOCK, stages.FILE) or (name.endswith(".dvc") and name != ".dvc")


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _covering(path: str, outputs: Iterable[Output]) -> Output | None:
    return next((one for one in outputs if _is_below(path, one.path)), None)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
