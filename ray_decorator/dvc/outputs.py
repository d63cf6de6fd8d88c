"""What DVC tracks in a repository: the outs of its ``.dvc`` files, and those that its ``dvc.lock`` files record."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ..core.errors import InputError
from ..core.model import PathSlot
from .ignore import IgnoreFolder, Ignores
from .repository import root_of

LOCK = "dvc.lock"

_Loader = getattr(
    yaml, "CBaseLoader", yaml.BaseLoader
)  # whose scalars are texts: an md5 may look like a number


@dataclass(frozen=True, slots=True)
class Output:
    """A file or directory that DVC tracks: where it belongs, and what it held when that was written down.

    ``digest`` is its md5, with ``.dir`` after that of a directory. ``size`` is in bytes; with ``files`` it is None
    where DVC did not write it. ``source`` is the file that says so, ``remote`` the name of a remote of its own.
    ``is_old``: DVC 2 wrote it, whose md5 is of other bytes for text. ``is_cached``: DVC's cache has it.
    """

    path: str
    digest: str
    source: str
    size: int | None = None
    files: int | None = None
    remote: str | None = None
    is_old: bool = False
    is_cached: bool = True

    @property
    def is_tree(self) -> bool:
        return self.digest.endswith(".dir")


class Outputs:
    """The outputs of the repositories of this disk; each file is read once."""

    def __init__(self) -> None:
        self._files: dict[str, list[Output]] = {}
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
        found = [*near, *(output for each in sorted(inside) for output in self._in(each))]
        return [one for one in found if one.path != path and _is_below(one.path, path)]

    def absent_from(self, folder: str, files: Iterable[str]) -> list[Output]:
        """What the ``.dvc`` files among ``files``, paths below the folder, track and is not here."""
        folders = {os.path.dirname(os.path.join(folder, name)) for name in files if name.endswith(".dvc")}
        found = [output for each in sorted(folders) for output in self._in(each)]
        return [one for one in found if not os.path.lexists(one.path) and not one.source.endswith(LOCK)]

    def untracked(self, deps: Iterable[PathSlot]) -> list[PathSlot]:
        """The deps but for those that are not here, and that DVC tracks."""
        return [dep for dep in deps if os.path.exists(dep.value) or self.tracking(dep.value) is None]

    def all_of(self, root: str) -> list[Output]:
        """All outputs of the repository ``root``, as DVC finds them: no file that it ignores counts."""
        if root not in self._all:
            selection = Ignores().selection(root)
            assert selection is not None
            self._all[root] = list(self._walked(root, selection))
        return self._all[root]

    def _near(self, path: str, root: str) -> Iterator[Output]:
        """Those of the folders above, where they nearly always are."""
        folder = os.path.dirname(path) if path != root else root
        while True:
            yield from self._in(folder)
            if folder == root:
                return
            folder = os.path.dirname(folder)

    def _walked(self, folder: str, selection: IgnoreFolder) -> Iterator[Output]:
        here = [
            one for one in self._in(folder) if not selection.leaves_out(os.path.basename(one.source), False)
        ]
        yield from here
        data = {one.path for one in here}
        for entry in _entries(folder):
            is_folder = entry.is_dir(follow_symlinks=False) and not entry.name.startswith((".dvc", ".git"))
            if is_folder and entry.path not in data and not selection.leaves_out(entry.name, True):
                yield from self._walked(entry.path, selection.within(entry.name))

    def _in(self, folder: str) -> list[Output]:
        if folder not in self._files:
            names = [entry.name for entry in _entries(folder) if entry.is_file()]
            self._files[folder] = [
                output
                for name in sorted(names)
                if name == LOCK or (name.endswith(".dvc") and name != ".dvc")
                for output in _read(os.path.join(folder, name))
            ]
        return self._files[folder]


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


def _read(file: str) -> Iterator[Output]:
    data = _loaded(file)
    folder = os.path.dirname(file)
    if os.path.basename(file) != LOCK:
        yield from _outs(data, os.path.join(folder, data.get("wdir") or "."), file, {})
        return
    stages = data.get("stages") or {} if "schema" in data else data
    written = _loaded(os.path.join(folder, "dvc.yaml")).get("stages") or {}
    for name, stage in stages.items():
        definition = written.get(name.partition("@")[0]) or {}
        definition = definition.get("do") or definition
        yield from _outs(stage, os.path.join(folder, definition.get("wdir") or "."), file, definition)


def _loaded(file: str) -> Mapping[str, Any]:
    try:
        with open(file, encoding="utf-8") as text:
            data = yaml.load(text, _Loader)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise InputError(f"{file}: cannot be read as a file of DVC's ({exc}); correct it") from exc
    return data if isinstance(data, dict) else {}


def _outs(entry: Any, folder: str, source: str, definition: Mapping[str, Any]) -> Iterator[Output]:
    written = dict(_options(definition))
    for out in entry.get("outs") or () if isinstance(entry, dict) else ():
        if not (isinstance(out, dict) and out.get("path") and out.get("md5")):
            continue  # its bytes are not named by their content, or not known yet
        yield Output(
            path=os.path.abspath(os.path.join(folder, out["path"])),
            digest=str(out["md5"]),
            source=source,
            size=_number(out.get("size")),
            files=_number(out.get("nfiles")),
            remote=out.get("remote") or written.get(out["path"], {}).get("remote"),
            is_old=out.get("hash") != "md5",
            is_cached={**written.get(out["path"], {}), **out}.get("cache") != "false",
        )


def _options(definition: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What a stage says of its outs beyond their paths: ``- model.pkl: {remote: other}``."""
    for out in (out for kind in ("outs", "metrics", "plots") for out in definition.get(kind) or ()):
        for path, options in out.items() if isinstance(out, dict) else ():
            if isinstance(options, dict):
                yield path, options


def _number(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isdigit() else None
