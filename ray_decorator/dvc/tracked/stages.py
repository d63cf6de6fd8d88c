"""The stages of a ``dvc.yaml``: their commands, and the paths that they read and write."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from ...core.errors import InputError
from .. import config
from ..repository import root_of
from . import templates

FILE = "dvc.yaml"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage, with what its templates stand for. ``name`` is as in ``DVC_STAGE``, ``file`` its ``dvc.yaml``.

    All paths are absolute. ``deps`` are what it reads, ``outs`` what it writes: outs, metrics and plots. DVC removes
    these before the command runs, but for the ``persistent`` ones, and keeps all but the ``uncached`` ones in its
    cache. ``remotes`` are the names of remotes of their own. ``folder`` is where its command runs, ``params`` are
    files of parameters.
    """

    name: str
    file: str
    folder: str
    commands: tuple[str, ...]
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    persistent: frozenset[str] = frozenset()
    uncached: frozenset[str] = frozenset()
    remotes: Mapping[str, str] = field(default_factory=dict)
    params: tuple[str, ...] = ()


def stages(file: str, only: str | None = None) -> Iterator[Stage]:
    """The stages of a ``dvc.yaml``, or ``only`` the one of this name; a matrix's and a foreach's are many.

    Raises InputError for what DVC would refuse.
    """
    try:
        yield from _stages(file, only)
    except InputError:
        raise
    except (AttributeError, TypeError, ValueError) as exc:  # a list where a mapping is to be, say
        raise InputError(
            f"{file}: cannot be read as DVC would ({exc}); correct it, or list the keys"
        ) from exc


def _stages(file: str, only: str | None) -> Iterator[Stage]:
    data = templates.load(file)
    folder = os.path.dirname(file)
    known = templates.variables(folder, data.get("vars") or ())
    for group, definition in (data.get("stages") or {}).items():
        if only is not None and group not in (only, only.rpartition("@")[0]):
            continue
        try:
            # of two with one name the last counts, as for DVC
            made = {name: (template, extra) for name, template, extra in _each(group, definition, known)}
            for name, (template, extra) in made.items():
                if only in (None, name):
                    yield _stage(name, file, template, {**known, **templates.visible(extra)})
        except InputError as exc:
            raise InputError(f"{file}: stage {group!r}: {exc}. Correct it, or list the keys") from exc


def _each(group: str, definition: Any, known: Mapping[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """The names that a definition stands for, what they are made of, and the variables of their own."""
    if not isinstance(definition, Mapping):
        raise InputError("expected a mapping")
    if "matrix" in definition:
        axes = templates.resolved(definition["matrix"], known)
        for values in product(*(list(enumerate(axis)) for axis in axes.values())):
            row = dict(zip(axes, values, strict=True))
            key = "-".join(_part(axis, *value) for axis, value in row.items())
            item = {axis: value for axis, (_, value) in row.items()}
            yield f"{group}@{key}", definition, {"item": item, "key": key}
    elif "foreach" in definition:
        items = templates.resolved(definition["foreach"], known)
        for key, item in _pairs(items):
            extra = {"item": item, "key": key} if isinstance(items, Mapping) else {"item": item}
            yield f"{group}@{key}", definition.get("do"), extra
    else:
        yield group, definition, {}


def _part(axis: str, index: int, value: Any) -> str:
    return f"{axis}{index}" if isinstance(value, list | dict) else templates.text(value)


def _pairs(items: Any) -> list[tuple[str, Any]]:
    if isinstance(items, Mapping):
        return [(templates.text(key), item) for key, item in items.items()]
    if any(isinstance(item, list | dict) for item in items):
        return [(str(index), item) for index, item in enumerate(items)]
    return [(templates.text(item), item) for item in items]


def _stage(name: str, file: str, definition: Any, known: Mapping[str, Any]) -> Stage:
    above = os.path.dirname(file)
    folder = os.path.join(above, templates.resolved(definition.get("wdir") or ".", known))
    if own := definition.get("vars"):
        known = templates.variables(folder, own, known)
    commands = templates.resolved(definition.get("cmd", ""), known, functools.partial(_in_command, file))
    deps = list(_paths(definition.get("deps"), known, folder))
    outs = [
        out for kind in ("outs", "metrics", "plots") for out in _paths(definition.get(kind), known, folder)
    ]
    return Stage(
        name=name,
        file=file,
        folder=os.path.abspath(folder),
        # as DVC runs them: each line of a text, and each item of a list, in a shell of its own
        commands=tuple(map(str, commands if isinstance(commands, list) else str(commands).splitlines())),
        deps=tuple(path for path, _ in deps),
        outs=tuple(dict.fromkeys(path for path, _ in outs)),
        persistent=frozenset(path for path, options in outs if options.get("persist")),
        uncached=frozenset(path for path, options in outs if options.get("cache") is False),
        remotes={path: str(options["remote"]) for path, options in outs if options.get("remote")},
        params=tuple(_params(definition.get("params"), known, folder)),
    )


def _params(listed: Any, known: Mapping[str, Any], folder: str) -> Iterator[str]:
    """Files of parameters: ``- lr`` is of params.yaml, ``- other.toml: [a, b]`` of another one."""
    for each in listed or ():
        for file in each if isinstance(each, Mapping) else (templates.PARAMS,):
            path = templates.text(templates.resolved(file, known))
            yield os.path.abspath(os.path.join(folder, path))


def _in_command(file: str, value: Any) -> str:
    """How a value is written into a command of the ``dvc.yaml``: a mapping becomes options."""
    if not isinstance(value, Mapping):
        return templates.text(value)
    root = root_of(file)
    return templates.options(value, config.load(root).get("parsing", {}) if root is not None else {})


def _paths(listed: Any, known: Mapping[str, Any], folder: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Local paths, each with its options: ``- model.pkl: {persist: true}``."""
    for each in listed or ():
        pairs = each.items() if isinstance(each, Mapping) else [(each, {})]
        for path, options in pairs:
            path = templates.text(templates.resolved(path, known))
            if "://" not in path:
                found = os.path.abspath(os.path.join(folder, path))
                yield found, templates.resolved(options, known) if isinstance(options, Mapping) else {}
