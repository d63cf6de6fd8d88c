"""The stage of a ``dvc.yaml`` that a program runs in, and the paths that it reads and writes.

DVC tells a stage's command which stage it is (``DVC_STAGE``: ``train``, ``train@svm``, ``sub/dvc.yaml:train``). A
program that is started by hand runs in the stage whose command starts it.
"""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from ..core.errors import InputError
from . import config, templates
from .repository import root_of

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


@dataclass(frozen=True, slots=True)
class Program:
    """What was started: ``script`` is its file, ``module`` its name after ``-m``, ``start`` where it was started."""

    start: str
    script: str | None = None
    module: str | None = None
    arguments: tuple[str, ...] = ()


def stage_of(program: Program) -> Stage:
    """The stage that the program runs in. Raises InputError where there is none, or more than one may be meant."""
    found = told(program.start)
    if found is not None:
        return found
    root = root_of(program.start)
    if root is None:
        raise InputError(f"{program.start} is in no DVC repository: start the app in one, or list the keys")
    running = [stage for file in _files(program, root) for stage in stages(file) if _runs(stage, program)]
    # of a matrix, the one that has just these arguments; else those that have them among others
    given = program.arguments
    exact = [stage for stage in running if given in _arguments(stage, program)]
    close = [stage for stage in running if any(set(own) <= set(given) for own in _arguments(stage, program))]
    chosen = exact or close or running
    if len(chosen) == 1:
        return chosen[0]
    what = program.script or program.module or "this program"
    if not running:
        raise InputError(
            f"no stage of a {FILE} in {root} runs {what}: set DVC_STAGE to a stage's name, add a stage, or list "
            "the keys of deps and outs"
        )
    names = ", ".join(stage.name for stage in chosen)
    raise InputError(
        f"{what} may run in more than one stage ({names}): start it with `dvc repro`, set DVC_STAGE to one of "
        "them, or list the keys"
    )


def told(start: str) -> Stage | None:
    """The stage that DVC has told this process of; None where it has not.

    ``start`` is where the process was started. Raises InputError where that stage cannot be read.
    """
    address = os.environ.get("DVC_STAGE")
    if not address:
        return None
    return _told(address, os.environ.get("DVC_ROOT") or root_of(start) or start, start)


@functools.cache
def _told(address: str, root: str, start: str) -> Stage:
    """That stage, which a process has for its life. The repository's folder is ``root``."""
    file, colon, name = address.rpartition(":")
    if not (colon and file.endswith((".yaml", ".yml"))):
        file, name = FILE, address
    # the file is told from where dvc was started, which may be any folder of the repository
    file = file.replace("../", "")
    candidates = [os.path.join(folder, file) for folder in (root, *_above(start, root))]
    found = [
        stage for each in dict.fromkeys(candidates) if os.path.isfile(each) for stage in stages(each, name)
    ]
    here = [stage for stage in found if os.path.realpath(stage.folder) == os.path.realpath(start)] or found
    if not here:
        raise InputError(
            f"DVC_STAGE is {address!r}, but no {os.path.basename(file)} below {root} has that stage. Unset DVC_STAGE "
            "where the program is started by hand, or list the keys of its deps and outs"
        )
    return here[0]


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
        commands=tuple(map(str, commands)) if isinstance(commands, list) else (str(commands),),
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


def _above(start: str, root: str) -> Iterator[str]:
    """``start`` and the folders above it, up to the root."""
    at = os.path.abspath(start)
    while True:
        yield at
        if at == root or at == os.path.dirname(at):
            return
        at = os.path.dirname(at)


def _files(program: Program, root: str) -> list[str]:
    starts = [program.start, *([os.path.dirname(program.script)] if program.script else [])]
    folders = [folder for start in starts if root_of(start) == root for folder in _above(start, root)]
    return [file for folder in dict.fromkeys(folders) if os.path.isfile(file := os.path.join(folder, FILE))]


def _runs(stage: Stage, program: Program) -> bool:
    return bool(_arguments(stage, program))


def _arguments(stage: Stage, program: Program) -> list[tuple[str, ...]]:
    """What follows the program's own name in the stage's commands, once for each time that it is there."""
    found = []
    for line in (line for command in stage.commands for line in command.splitlines()):
        words = _words(line)
        found += [tuple(words[n + 1 :]) for n in range(len(words)) if _is_program(words, n, stage, program)]
    return found


def _is_program(words: Sequence[str], n: int, stage: Stage, program: Program) -> bool:
    word = words[n]
    if program.module is not None:
        return word == program.module and n > 0 and words[n - 1] == "-m"
    if program.script is None or os.path.basename(word) != os.path.basename(program.script):
        return False
    return os.path.realpath(os.path.join(stage.folder, word)) == os.path.realpath(program.script)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a quote that is open at its end: another line closes it
        return line.split()
