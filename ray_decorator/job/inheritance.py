"""A job takes over what it inherited of the driver's process, as a child process would.

`process_state.restored` puts back what was before. What a job starts itself is marked by RAY_S3_JOB, the pid of the
job's process: see `run.sessions`.
"""

from __future__ import annotations

import os
import sys

from ..core.inherited import JOB, Inherited, Variable
from . import workplace


def take_over(inherited: Inherited) -> None:
    """Set the driver's variables and ``sys.argv`` in this process; the user's ``runtime_env`` wins."""
    chosen = chosen_variables()
    for name, variable in inherited.environ.items():
        if name not in chosen:
            _set(name, value_here(variable))
    _set(JOB, str(os.getpid()))
    if inherited.argv:
        script, *arguments = inherited.argv
        sys.argv[:] = [workplace.main_script() or script, *arguments]


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
