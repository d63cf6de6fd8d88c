"""The stage that a program runs in.

DVC tells a stage's command which stage it is (``DVC_STAGE``: ``train``, ``train@svm``, ``sub/dvc.yaml:train``). A
program that is started by hand runs in the stage whose command starts it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..core.errors import InputError
from ..core.paths import upwards
from .commands import Started, started
from .repository import root_of
from .tracked.outputs import Outputs
from .tracked.stages import FILE, Stage, stages

_MAIN = "__main__.py"


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
    near = _near(program, root)
    running = [stage for file in near for stage in stages(file) if _arguments(stage, program)]
    if not running:
        running = [stage for stage in _others(root, near) if _arguments(stage, program)]
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
    near = [each for each in dict.fromkeys(candidates) if os.path.isfile(each)]
    found = [stage for each in near for stage in stages(each, name)]
    found = found or list(_others(root, near, name))
    here = [stage for stage in found if os.path.realpath(stage.folder) == os.path.realpath(start)] or found
    if not here:
        raise InputError(
            f"DVC_STAGE is {address!r}, but no {os.path.basename(file)} below {root} has that stage. Unset DVC_STAGE "
            "where the program is started by hand, or list the keys of its deps and outs"
        )
    return here[0]


def _above(start: str, root: str) -> Iterator[str]:
    """``start`` and the folders above it, up to the root."""
    for at in upwards(os.path.abspath(start)):
        yield at
        if at == root:
            return


def _near(program: Program, root: str) -> list[str]:
    """The ``dvc.yaml`` files above the program, where stages mostly are."""
    starts = [program.start, *([os.path.dirname(program.script)] if program.script else [])]
    folders = [folder for start in starts if root_of(start) == root for folder in _above(start, root)]
    return [file for folder in dict.fromkeys(folders) if os.path.isfile(file := os.path.join(folder, FILE))]


def _others(root: str, near: Sequence[str], only: str | None = None) -> Iterator[Stage]:
    """The stages of all other files of the repository that can be read: ``wdir`` may lead anywhere."""
    files: Iterable[str] = ()
    with contextlib.suppress(InputError):
        files = Outputs().files_of(root)
    for file in files:
        if os.path.basename(file) == FILE and file not in near:
            with contextlib.suppress(InputError):
                yield from stages(file, only)


def _arguments(stage: Stage, program: Program) -> list[tuple[str, ...]]:
    """What follows the program's own name in the stage's commands, once for each time that it is there."""
    return [
        each.words[n + 1 :]
        for command in stage.commands
        for each in started(command, stage.folder)
        for n in range(len(each.words))
        if _is_program(each, n, program)
    ]


def _is_program(found: Started, n: int, program: Program) -> bool:
    word, before = found.words[n], found.words[n - 1] if n else ""
    if before == "-m" or word.startswith("-m"):
        module = word if before == "-m" else word.removeprefix("-m")
        return module == program.module or _is_script(module.replace(".", "/") + ".py", found, program)
    return _is_script(word, found, program)


def _is_script(word: str, found: Started, program: Program) -> bool:
    """Whether the word leads to the program's file, or to its folder where that is run as a whole."""
    if program.script is None:
        return False
    script, name = os.path.realpath(program.script), os.path.basename(program.script)
    if os.path.basename(word) == name and "/" not in word and _is_installed(script):
        return True  # by PATH
    if name not in (os.path.basename(word), _MAIN):
        return False
    real = os.path.realpath(os.path.join(found.folder, word))
    return real == script or (name == _MAIN and os.path.join(real, _MAIN) == script)


def _is_installed(script: str) -> bool:
    return os.path.dirname(script) == os.path.realpath(sysconfig.get_path("scripts"))
