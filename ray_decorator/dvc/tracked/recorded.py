"""What a ``.dvc`` file or a ``dvc.lock`` records: the outputs, and what they held then."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from ...content import manifest
from ...core.errors import InputError
from . import stages

LOCK = "dvc.lock"

_Loader = getattr(
    yaml, "CBaseLoader", yaml.BaseLoader
)  # whose scalars are texts: an md5 may look like a number


@dataclass(frozen=True, slots=True)
class Output:
    """A file or directory that DVC tracks: where it belongs, and what it held when that was written down.

    ``digest`` is its md5, with ``.dir`` after that of a directory; "" where DVC did not write it, as of an import
    that was never downloaded. ``size`` is in bytes; with ``files`` it is None where DVC did not write it. ``source``
    is the file that says so, ``remote`` the name of a remote of its own. ``is_old``: DVC 2 wrote it, whose md5 is of
    other bytes for text. ``is_cached``: DVC's cache has it. ``is_executable`` is of a single file.
    """

    path: str
    digest: str
    source: str
    size: int | None = None
    files: int | None = None
    remote: str | None = None
    is_old: bool = False
    is_cached: bool = True
    is_executable: bool = False

    @property
    def names_content(self) -> bool:
        """Whether a store or cache has it by its digest, if at all."""
        return bool(self.digest) and not self.is_old

    @property
    def is_tree(self) -> bool:
        return self.digest.endswith(".dir")


def recorded(file: str) -> Iterator[Output]:
    """The outputs that a ``.dvc`` file or a ``dvc.lock`` records. Raises InputError where it cannot be read."""
    data = _loaded(file)
    if os.path.basename(file) == LOCK:
        yield from _locked(data.get("stages") or {} if "schema" in data else data, file)
    else:
        yield from _outs(data, os.path.join(os.path.dirname(file), _text(data.get("wdir")) or "."), file)


def _locked(entries: Any, lock: str) -> Iterator[Output]:
    """Those of the stages that ``dvc.yaml`` has today."""
    if not isinstance(entries, dict):
        raise InputError(f"{lock}: its stages are no mapping; let `dvc repro` write it anew")
    file = os.path.join(os.path.dirname(lock), stages.FILE)
    try:
        found = {stage.name: stage for stage in stages.stages(file)}
    except InputError:
        definitions = _loaded(file).get("stages")
        if not (isinstance(definitions, dict) and all(isinstance(one, dict) for one in definitions.values())):
            raise
        yield from _unresolved(entries, definitions, lock)
        return
    for stage in (found[name] for name in entries if name in found):
        for one in _outs(entries[stage.name], stage.folder, lock):
            if one.path in stage.outs:
                remote = one.remote or stage.remotes.get(one.path)
                yield replace(one, remote=remote, is_cached=one.path not in stage.uncached)


def _unresolved(entries: Mapping[str, Any], definitions: Mapping[str, Any], lock: str) -> Iterable[Output]:
    """As `_locked`, where only DVC can read what the templates stand for: by what is written without them."""
    found: dict[str, Output] = {}
    for name in entries:
        if (group := definitions.get(name.partition("@")[0])) is None:
            continue  # the stage is no more
        definition = group["do"] if isinstance(group.get("do"), dict) else group
        folder = os.path.join(os.path.dirname(lock), _text(definition.get("wdir")) or ".")
        written = {os.path.abspath(os.path.join(folder, path)): each for path, each in _written(definition)}
        for one in _outs(entries[name], folder, lock):
            if one.path in written or one.path not in found:
                options = written.get(one.path, {})
                remote, is_cached = (
                    one.remote or options.get("remote"),
                    not _is(options.get("cache"), "false"),
                )
                found[one.path] = replace(one, remote=remote, is_cached=is_cached)
    return found.values()


def _written(definition: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A stage's outs, with what it says of them beyond their paths: ``- model.pkl: {remote: other}``."""
    listed = [definition.get(kind) for kind in ("outs", "metrics", "plots")]
    for out in (out for each in listed if isinstance(each, list) for out in each):
        for path, options in out.items() if isinstance(out, dict) else [(str(out), {})]:
            yield path, options if isinstance(options, dict) else {}


def _loaded(file: str) -> Mapping[str, Any]:
    try:
        with open(file, encoding="utf-8") as text:
            data = yaml.load(text, _Loader)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise InputError(f"{file}: cannot be read as a file of DVC's ({exc}); correct it") from exc
    return data if isinstance(data, dict) else {}


def _outs(entry: Any, folder: str, source: str) -> Iterator[Output]:
    listed = entry.get("outs") if isinstance(entry, dict) else None
    for out in listed if isinstance(listed, list) else ():
        if not (isinstance(out, dict) and isinstance(out.get("path"), str)) or "://" in out["path"]:
            continue  # it is elsewhere
        listed_files = out.get("files")
        files = listed_files if isinstance(listed_files, list) and listed_files else None
        yield Output(
            path=os.path.abspath(os.path.join(folder, out["path"])),
            digest=_text(out.get("md5")) if files is None else _digest_of(files),
            source=source,
            size=_number(out.get("size")),
            files=_number(out.get("nfiles")) if files is None else len(files),
            remote=out.get("remote"),
            is_old=out.get("hash") != "md5",
            is_cached=not _is(out.get("cache"), "false"),
            is_executable=_is(out.get("isexec"), "true"),
        )


def _digest_of(files: Sequence[Any]) -> str:
    """That of a directory whose files are listed, as DVC does of what a remote with versions has."""
    rows = [(_text(one.get("relpath")), _text(one.get("md5"))) for one in files if isinstance(one, dict)]
    return manifest.dump(rows)[0] if len(rows) == len(files) and all(map(all, rows)) else ""


def _is(text: Any, word: str) -> bool:
    return isinstance(text, str) and text.lower() == word


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value.lower() not in ("null", "~") else ""


def _number(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isdigit() else None
