"""A job takes over what it inherited of the driver's process, as a child process would.

`process_state.restored` puts back what was before. What a job starts itself is marked by RAY_S3_JOB, the pid of the
job's process: see `run.sessions`.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Mapping
from typing import Any

from ...core.values.inherited import AWS_IDENTITY, JOB, Inherited, Variable
from . import workplace


def take_over(inherited: Inherited, *, at_home: bool) -> None:
    """Set the driver's variables and ``sys.argv`` in this process; the user's ``runtime_env`` wins.

    Modules that the driver has loaded by their paths are found by their names.

    ``at_home``: it runs on the driver's machine, where ``~/.aws`` is the driver's.
    """
    chosen = chosen_variables()
    if chosen & AWS_IDENTITY:  # who chooses one of them has chosen for all
        chosen |= AWS_IDENTITY
    for name, variable in {**inherited.environ, **_of_aws(inherited, chosen, at_home)}.items():
        if name not in chosen:
            _set(name, value_here(variable))
    _set(JOB, str(os.getpid()))
    if inherited.argv:
        script, *arguments = inherited.argv
        sys.argv[:] = [workplace.main_script() or script, *arguments]

    if inherited.modules:
        sys.meta_path.append(ByPath(inherited.modules))


class ByPath(importlib.abc.MetaPathFinder):
    """Finds modules, by their names, at the places that files of the driver have here."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        self._modules = modules

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        real = self._modules.get(name)
        place = None if real is None else workplace.here(real) or real
        if place is None or not os.path.isfile(place):
            return None
        return importlib.util.spec_from_file_location(name, place)


def _of_aws(inherited: Inherited, chosen: set[str], at_home: bool) -> Mapping[str, Variable]:
    """The AWS variables that change: on the driver's machine all, so that the task acts as the driver does.

    Elsewhere it is what the app has set itself (by dotenv, say), which its task needs. What the user's shell had may
    name a profile that a node does not have, or hide its role: Hydra's ``env_copy`` or an S3 store brings that there.
    Who somebody is comes as a whole: no session token of the node's stays beside the app's keys.
    """
    if inherited.aws is None:
        return {}
    names = set(inherited.aws_everywhere)
    if at_home:
        names |= inherited.aws.keys() | {name for name in os.environ if name.startswith("AWS_")}
    elif names & AWS_IDENTITY:
        names |= AWS_IDENTITY
    return {name: inherited.aws.get(name, Variable(None)) for name in names}


def value_here(variable: Variable) -> str | None:
    """The variable's value in this process: what is a path of the driver's code leads to that code here."""
    if variable.value is None or variable.real is None or (at := workplace.here(variable.real)) is None:
        return variable.value
    return os.path.join(at, "") if variable.value.endswith("/") else at


def chosen_variables() -> set[str]:
    """The variables that the user's ``runtime_env`` gives to jobs; a far job's Ray worker has told us of them."""
    told = set(os.environ.get("RAY_S3_CHOSEN", "").split())
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        told.update(ray.get_runtime_context().runtime_env.get("env_vars") or {})
    return told


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
