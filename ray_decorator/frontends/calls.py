"""What the front doors for functions share: requests -> Calls -> engine -> outcomes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from omegaconf import DictConfig, ListConfig

from ..cluster.connection import Connection, is_connected
from ..core import settings, slots
from ..core.model import Call, Outcome, PathSlot, Slot
from ..core.problems import Problems
from ..display.progress import make_progress
from ..project import driver
from ..run import engine
from . import main_module
from .task import Task
from .terms import Terms

log = logging.getLogger(__name__)

_PATHS: Slot = ("args", 3)


@dataclass(frozen=True, slots=True)
class Request:
    """One call as its front door sees it.

    Keys are looked up in ``root``; ``place`` says where in ``{"args": …, "kwargs": …}`` a slot of it is.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    root: Any
    place: Callable[[Slot], Slot]
    name: str


def run(function: Callable[..., Any], requests: Sequence[Request], terms: Terms) -> list[Outcome]:
    """Run ``function`` for each request on Ray; the outcomes in the same order.

    Raises InputError, before anything starts, with all that is wrong with the terms or with any request.
    """
    resolved = _settings(terms)
    calls = _calls(_task(function, requests), requests, terms)
    if not calls:
        return []
    if not is_connected():
        _announce(resolved)
    with make_progress() as progress:
        return engine.run_many(calls, resolved, Connection(resolved), progress)


def shown(function: Callable[..., Any]) -> str:
    """What the user sees of a function: ``train``, ``Trainer.fit``."""
    name = getattr(function, "__qualname__", type(function).__name__)
    return str(name).rpartition("<locals>.")[2]


def value_of(outcome: Outcome) -> Any:
    """The call's value; raises its exception where it has none."""
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def _settings(terms: Terms) -> settings.Settings:
    # a process that is connected needs no address; RAY_ADDRESS, which Ray sets for its own workers, would
    # ask for a store that other machines reach: with the cluster at hand, the engine checks that itself
    connected = is_connected() and not terms.ray_address
    return settings.resolve(
        ray_address="local" if connected else terms.ray_address,
        s3_base_path=terms.s3_base_path,
        ray_init_kwargs=terms.ray_init_kwargs,
        ray_remote_kwargs=terms.ray_remote_kwargs,
    )


def _announce(where: settings.Settings) -> None:
    if where.ray_address == "local" and where.store_is_default:
        log.info(
            "Ray and the store (%s) are this machine's own; for a cluster give ray_address and "
            "s3_base_path, or set RAY_ADDRESS and RAY_S3_BASE_PATH",
            where.store_url,
        )


def _calls(task: Task, requests: Sequence[Request], terms: Terms) -> list[Call]:
    start = driver.started_at()
    calls: list[Call] = []
    problems = Problems()
    for request in requests:
        deps, wrong_deps = slots.find(request.root, terms.deps, kind="deps", start=start)
        outs, wrong_outs = slots.find(request.root, terms.outs, kind="outs", start=start)
        wrong = [*wrong_deps, *wrong_outs, *slots.absent(deps)]
        problems.add(request.name, wrong)
        if not wrong:
            calls.append(_call(task, request, deps, outs))
    problems.raise_if_any()
    return calls


def _call(task: Task, request: Request, deps: Sequence[PathSlot], outs: Sequence[PathSlot]) -> Call:
    """The paths go along as a list: where they belong is filled in by the Task, on the worker."""
    paths = [*deps, *outs]
    listed = [PathSlot((*_PATHS, index), path.key, path.value) for index, path in enumerate(paths)]
    return Call(
        func=task,
        args=(
            request.args,
            dict(request.kwargs),
            [request.place(path.slot) for path in paths],
            [str(path.value) for path in paths],
        ),
        kwargs={},
        deps=tuple(listed[: len(deps)]),
        outs=tuple(listed[len(deps) :]),
        name=request.name,
    )


def _task(function: Callable[..., Any], requests: Sequence[Request]) -> Task:
    configs = any(_has_config((request.args, dict(request.kwargs))) for request in requests)
    if not configs and driver.hydra_config() is None:
        return Task(function, None, main_module.captured())
    from . import hydra_state  # lazy: Hydra takes a while to import, and plain functions need none

    return Task(function, hydra_state.captured(), main_module.captured())


def _has_config(value: Any) -> bool:
    if isinstance(value, DictConfig | ListConfig):
        return True
    if isinstance(value, dict):
        return any(map(_has_config, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_config, value))
    return isinstance(value, partial) and _has_config((value.args, value.keywords))
