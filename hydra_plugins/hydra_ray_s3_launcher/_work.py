"""What the ledger knows a Hydra job by: its task, its config, the variables that it is given."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig

from ray_decorator.core.records.job_ids import digest_of
from ray_decorator.core.records.records import MOST_TEXT, without_nul
from ray_decorator.core.serialization import pickling
from ray_decorator.core.values.inherited import Variable
from ray_decorator.core.values.work import Work


def work_of(task_function: Callable[..., Any], config: DictConfig) -> Work:
    """What all jobs of an app have in common. ``config`` is Hydra's master config."""
    bound: list[Any] = []
    function = _innermost(task_function, bound)
    name, told = str(getattr(function, "__qualname__", "")), _told(bound)
    return Work(
        module=str(getattr(function, "__module__", "")),
        name=name if told == "" else f"{name}({told})",
        source="" if told is None else _source(function),
        config="",
        configs=_config_folders(config),
    )


def with_job(
    work: Work, config: str, variables: Mapping[str, Variable], app: str, overrides: tuple[str, ...]
) -> Work:
    """The work of one job: ``config`` is the digest of its config, ``variables`` are what it is given."""
    given = {name: variable.value for name, variable in variables.items()}
    shown = tuple(without_nul(each)[:MOST_TEXT] for each in overrides)  # a record holds no more
    return replace(work, config=digest_of([config, given]), app=app, overrides=shown)


def _told(bound: list[Any]) -> str | None:
    """A digest of what partials have bound, "" for nothing; None where it cannot be told from other values."""
    if not bound:
        return ""
    try:
        return hashlib.sha256(pickling.dumps(bound, "what a partial has bound")).hexdigest()[:16]
    except Exception:  # the task itself will not travel either, and says so
        return None


def _innermost(function: Any, bound: list[Any]) -> Any:
    """The user's own function: below decorators, partials, and hydra-zen's ``Zen`` objects.

    What partials have bound is added to ``bound``.
    """
    seen: set[int] = set()
    while id(function) not in seen:
        seen.add(id(function))
        if inspect.isroutine(function) or isinstance(function, type):
            function = inspect.unwrap(function)
        elif callable(getattr(function, "func", None)):
            if isinstance(function, functools.partial) and (function.args or function.keywords):
                bound.append((function.args, sorted(function.keywords.items())))
            function = function.func
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    return type(function)


def _source(function: Any) -> str:
    """The real path of its file; "" where it has none (a notebook's cell, a builtin)."""
    if isinstance(function, type):
        file = getattr(sys.modules.get(function.__module__), "__file__", None)
    else:
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        file = getattr(code, "co_filename", None)
    return os.path.realpath(file) if file and os.path.isfile(file) else ""


def _config_folders(config: DictConfig) -> tuple[str, ...]:
    folders: list[str] = []
    for source in config.hydra.runtime.config_sources:
        if source.schema == "file":
            folders.append(os.path.realpath(source.path))
        elif source.schema == "pkg":
            folders += _package_folders(source.path)
    return tuple(folders)


def _package_folders(package: str) -> list[str]:
    name = package.replace("/", ".").strip(".")
    try:
        spec = importlib.util.find_spec(name) if name else None
    except (ImportError, ValueError):
        return []
    return [os.path.realpath(path) for path in (spec.submodule_search_locations or ())] if spec else []
