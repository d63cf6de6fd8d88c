"""``@ray_decorator``: calls of a function run on Ray, with the paths they read and write carried along."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from ..core.options.settings import OptionArguments
from ..core.serialization.failures import add_note
from ..core.values.model import Outcome, Slot
from . import calls
from .calls import Request
from .supported import check_supported
from .terms import Mark, Terms, config_parameter, is_the_task, make_terms

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class RayFunction(Protocol[P, R]):
    """A function whose calls run on Ray. It is a function still: a method in a class, a task for Hydra.

    ``local``, ``submit`` and ``map`` belong to the function, not to an object: for a method, pass the
    object first (``Trainer.fit.submit(trainer, …)``).
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run on Ray and wait; what the function returns or raises."""

    def local(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function itself, here, without Ray."""

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run on Ray without waiting. The future's exception is the call's, bad inputs included.

        It can be cancelled until its job has ended. Ctrl-C cancels all of them; a program that ends otherwise
        waits for them first.
        """

    @overload
    def map(self, items: Iterable[Any], *, return_exceptions: Literal[False] = ...) -> list[R]: ...

    @overload
    def map(self, items: Iterable[Any], *, return_exceptions: bool) -> list[R | BaseException]: ...

    def map(self, items: Iterable[Any], *, return_exceptions: bool = False) -> Any:
        """Run a call for each item, side by side; the results in their order.

        A tuple is a call's positional arguments, a dict its keyword arguments, anything else its only
        argument. Every call runs, whatever becomes of the others. Then the first failure is raised, with
        a note on each other one; with ``return_exceptions`` they stand in the list instead. Raises
        InputError, before anything starts, if two calls would write to the same path.
        """

    @overload
    def __get__(self, instance: None, owner: Any = ..., /) -> RayFunction[P, R]: ...

    @overload
    def __get__(
        self: RayFunction[Concatenate[S, Q], T], instance: S, owner: Any = ..., /
    ) -> Callable[Q, T]: ...


def ray_decorator(
    deps: Sequence[str] | None = None,
    outs: Sequence[str] | None = None,
    *in_order: Any,
    **options: Unpack[OptionArguments],
) -> Callable[[Callable[P, R]], RayFunction[P, R]]:
    """Let calls of a function run on a Ray worker, while their data stays on this disk.

    :param deps: keys of the local files and directories that the function reads. A key begins with a
        parameter's name and may reach into its value: ``data_dir``, ``config.data.path``, ``args.0``. Or
        ``"dvc"``: all arguments, and values in them, that are deps of the DVC stage that the program runs in.
    :param outs: keys of those that it writes; they come home to where the argument says. Or ``"dvc"``, as above.
    :param in_order: options by position, in their order: ``ray_address``, ``s3_base_path``, …
    :param options: where and how to run: `core.options.settings.Options` explains each. ``ray_address`` is not used
        where this process is connected to a Ray already.

    Calls raise what the function raises, with the worker's traceback as its cause; InputError, before
    anything starts, for keys and paths that are not usable; StoreError and ClusterError for the rest. A coroutine
    function or a generator function is an InputError at once: its values would be the worker's.
    """
    terms = make_terms(deps, outs, in_order, options)

    def decorate(function: Callable[P, R]) -> RayFunction[P, R]:
        return _decorated(function, terms)

    return decorate


def _decorated(function: Callable[P, R], terms: Terms) -> RayFunction[P, R]:
    check_supported(function)
    mark = Mark(terms, config_parameter(function))
    shown = calls.shown(function)

    # a partial is taken apart, so that its arguments can be deps and outs
    whole = functools.partial(function)

    def request(args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str) -> Request:
        return _request(whole.func, (*whole.args, *args), {**whole.keywords, **kwargs}, name)

    def run(requests: Sequence[Request]) -> list[Outcome]:
        return calls.run(whole.func, requests, terms)

    @functools.wraps(function)
    def on_ray(*args: P.args, **kwargs: P.kwargs) -> R:
        if is_the_task(mark):
            return function(*args, **kwargs)
        [outcome] = run([request(args, kwargs, shown)])
        return cast(R, calls.value_of(outcome))

    def submit(*args: P.args, **kwargs: P.kwargs) -> Future[R]:
        return calls.submit(whole.func, lambda: request(args, kwargs, shown), terms)

    def map_(items: Iterable[Any], *, return_exceptions: bool = False) -> list[Any]:
        requests = [request(*_arguments(item), f"#{index} {shown}") for index, item in enumerate(items)]
        return _results(run(requests), return_exceptions)

    for name, value in {"local": function, "submit": submit, "map": map_, "__ray_s3__": mark}.items():
        setattr(on_ray, name, value)
    return cast("RayFunction[P, R]", on_ray)


def _request(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str
) -> Request:
    """Raises TypeError, as Python does, where the arguments do not suit the function."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError as exc:
        raise TypeError(f"{getattr(function, '__qualname__', name)}(): {exc}") from None
    given = set(bound.arguments)
    bound.apply_defaults()
    kinds = {name: parameter.kind for name, parameter in bound.signature.parameters.items()}
    root: dict[str, Any] = dict(bound.arguments)
    for name_, kind in kinds.items():
        if kind is inspect.Parameter.VAR_KEYWORD:  # known by their own names too
            root = {**root[name_], **root}
    place = functools.partial(_place, kinds, len(bound.args))
    defaults = {
        place((name_,)): name_
        for name_, parameter in bound.signature.parameters.items()
        if name_ not in given and parameter.default is not parameter.empty
    }
    return Request(bound.args, bound.kwargs, root, place, name, defaults)


def _place(kinds: Mapping[str, Any], count: int, slot: Slot) -> Slot:
    """Where a slot that begins with a parameter's name stands in the arguments that are passed."""
    name, rest = str(slot[0]), slot[1:]
    kind = kinds.get(name)
    if kind is None:
        return ("kwargs", name, *rest)
    if kind is inspect.Parameter.VAR_KEYWORD:
        return ("kwargs", *rest)
    if kind is inspect.Parameter.KEYWORD_ONLY:
        return ("kwargs", name, *rest)
    position = list(kinds).index(name)
    if kind is inspect.Parameter.VAR_POSITIONAL:
        return ("args", position + int(rest[0]), *rest[1:])
    return ("args", position, *rest)


def _arguments(item: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    # exact types: a named tuple, or a config, is one argument
    if type(item) is tuple:
        return item, {}
    if type(item) is dict:
        return (), item
    return (item,), {}


def _results(outcomes: Sequence[Outcome], return_exceptions: bool) -> list[Any]:
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if failed and not return_exceptions:
        first, *others = failed
        assert first.error is not None
        add_note(first.error, f"This was {first.name}; {len(failed)} of {len(outcomes)} calls failed")
        for other in others:
            add_note(first.error, f"{other.name} failed too: {type(other.error).__name__}: {other.error}")
        raise first.error
    return [outcome.value if outcome.error is None else outcome.error for outcome in outcomes]
