"""What the front doors for functions share: requests -> Calls -> session -> outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from omegaconf import DictConfig, ListConfig

from ..cluster.connecting.connection import is_connected, own_address
from ..core import slots
from ..core.errors import InputError
from ..core.options.settings import Settings
from ..core.problems import Problems
from ..core.serialization import pickling
from ..core.values.model import Call, Outcome, PathSlot, Slot
from ..display.progress import make_progress
from ..dvc.remote import with_remote
from ..dvc.tracked.outputs import Outputs
from ..project import driver, environ
from ..run.sessions import cancel_on_interrupt, refuse_to_nest, session_for
from .script import main_module
from .stage_paths import StagePaths
from .task import Arguments, Task
from .terms import Terms


@dataclass(frozen=True, slots=True)
class Request:
    """One call as its front door sees it.

    Keys are looked up in ``root``; ``place`` says where in ``{"args": …, "kwargs": …}`` a slot of it is.
    ``defaults`` are the parameters, by these places, that have their defaults.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    root: Any
    place: Callable[[Slot], Slot]
    name: str
    defaults: Mapping[Slot, str] = field(default_factory=dict)


def run(function: Callable[..., Any], requests: Sequence[Request], terms: Terms) -> list[Outcome]:
    """Run ``function`` for each request on Ray; the outcomes in the same order.

    Raises InputError, before anything starts, with all that is wrong with the terms or with any request.
    """
    settings = _settings(terms)
    calls = _calls(function, requests, terms)
    return session_for(settings, make_progress).run(calls) if calls else []


def submit(function: Callable[..., Any], request: Callable[[], Request], terms: Terms) -> Future[Any]:
    """Run ``function`` for the request on Ray without waiting. Whatever goes wrong is the future's exception."""
    try:
        settings = _settings(terms)
        [call] = _calls(function, [request()], terms)
        cancel_on_interrupt()
        return session_for(settings, make_progress).submit(call)
    except Exception as exc:
        refused: Future[Any] = Future()
        refused.set_exception(exc)
        return refused


def shown(function: Callable[..., Any]) -> str:
    """What the user sees of a function: ``train``, ``Trainer.fit``."""
    name = getattr(function, "__qualname__", type(function).__name__)
    return str(name).rpartition("<locals>.")[2]


def value_of(outcome: Outcome) -> Any:
    """The call's value; raises its exception where it has none."""
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def _settings(terms: Terms) -> Settings:
    if terms.options.resume:
        raise InputError(
            "resume is for the jobs of a Hydra app, which leave receipts; calls of functions leave none. Leave it out"
        )
    refuse_to_nest()  # first: what else a job's child has not got, nobody need know
    return with_remote(_resolved(terms), *driver.places())


def _resolved(terms: Terms) -> Settings:
    # a process that is connected needs no address; RAY_ADDRESS, which Ray sets for its own workers, would
    # ask for a store that other machines reach: with the cluster at hand, the session checks that itself
    if not is_connected() or terms.options.ray_address:
        return terms.options.resolve()
    return replace(terms.options, ray_address=own_address() or "local").resolve()


def _calls(function: Callable[..., Any], requests: Sequence[Request], terms: Terms) -> list[Call]:
    start = driver.started_at()
    found: list[tuple[Request, tuple[PathSlot, ...], tuple[PathSlot, ...]]] = []
    problems, outputs = Problems(), Outputs()
    paths = StagePaths(terms, start)
    for request in requests:
        its = paths.find(request.root)
        problems.add(request.name, [*its.problems, *slots.absent(outputs.untracked(its.deps))])
        found.append((request, its.deps, its.outs))
    problems.raise_if_any()
    if not found:
        return []
    paths.tell()
    task = partial(Task, function, _hydra(requests))
    func = main_module.dumps(task, f"the task function of {requests[0].name}")
    return [_call(func, *each) for each in found]


def _call(func: bytes, request: Request, deps: tuple[PathSlot, ...], outs: tuple[PathSlot, ...]) -> Call:
    places = tuple(request.place(path.slot) for path in (*deps, *outs))
    filled = {place[:2] for place in places}
    defaults = {place: name for place, name in request.defaults.items() if place not in filled}
    arguments = Arguments.of(request.args, request.kwargs, places, defaults)
    payload = pickling.dumps(arguments, f"an argument of {request.name}")
    inherited = environ.inherited(func, payload)
    return Call(func=func, payload=payload, deps=deps, outs=outs, name=request.name, inherited=inherited)


def _hydra(requests: Sequence[Request]) -> bytes | None:
    configs = any(_has_config((request.args, dict(request.kwargs))) for request in requests)
    if not configs and driver.hydra_config() is None:
        return None
    from . import hydra_state  # lazy: Hydra takes a while to import, and plain functions need none

    return hydra_state.captured()


def _has_config(value: Any) -> bool:
    if isinstance(value, DictConfig | ListConfig):
        return True
    if isinstance(value, dict):
        return any(map(_has_config, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_config, value))
    return isinstance(value, partial) and _has_config((value.args, value.keywords))
