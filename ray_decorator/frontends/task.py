"""What runs on the worker for a plain function: its paths filled in, among the driver's Hydra state."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.serialization import pickling
from ..core.slots import fill
from ..core.values.model import Paths, Slot
from .script import main_module


@dataclass(frozen=True, slots=True)
class Arguments:
    """What one call adds: its arguments, and the slots in them of its deps, then of its outs.

    ``defaults`` says, by their slots, for which parameters the function's own defaults count: these are with the
    function, so that ``other is _MISSING`` is true there, too. None stands in their places.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    slots: tuple[Slot, ...]
    defaults: Mapping[Slot, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        slots: tuple[Slot, ...],
        defaults: Mapping[Slot, str],
    ) -> Arguments:
        """Those of a call, without the values that are defaults."""
        own = tuple(None if ("args", n) in defaults else value for n, value in enumerate(args))
        named = {name: None if ("kwargs", name) in defaults else value for name, value in kwargs.items()}
        return cls(own, named, slots, defaults)

    def filled(self, function: Callable[..., Any], paths: Iterable[str]) -> tuple[list[Any], dict[str, Any]]:
        """With ``paths`` in their slots, and with the function's defaults."""
        arguments: Any = {"args": self.args, "kwargs": self.kwargs}
        for slot, path in zip(self.slots, paths, strict=True):
            arguments = fill(arguments, slot, path)
        found: dict[str, Any] = {"args": list(arguments["args"]), "kwargs": dict(arguments["kwargs"])}
        parameters = inspect.signature(function).parameters if self.defaults else {}
        for (kind, place), name in self.defaults.items():
            found[kind][place] = parameters[name].default
        return found["args"], found["kwargs"]


@dataclass(frozen=True, slots=True)
class Task:
    """A function with what its calls share; pickled once for all of them. It is a `model.TaskFunction`.

    ``hydra`` is the driver's state (``hydra_state.State``), None where neither configs nor a Hydra app are
    involved. ``main`` is the driver's ``__main__``.
    """

    function: Callable[..., Any]
    hydra: bytes | None
    main: main_module.Main

    def __call__(self, payload: bytes, paths: Paths) -> Any:
        """Call the function with the pickled `Arguments`, and with ``paths`` in their slots."""
        with self.around():
            return self.call(payload, paths)

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """The driver's state and `__main__`, which threads that the call leaves need until they are done."""
        with self._hydra(), main_module.installed(self.main, self.function):
            yield

    def call(self, payload: bytes, paths: Paths) -> Any:
        """The call itself, within `around`."""
        with own_sessions():
            given: Arguments = pickling.loads(payload)
            main_module.settle(self.main, self.function)
            args, kwargs = given.filled(self.function, (*paths.deps, *paths.outs))
            return self.function(*args, **kwargs)

    def forget(self) -> None:
        """See `main_module.forget`."""
        main_module.forget(self.main, self.function)

    def _hydra(self) -> contextlib.AbstractContextManager[None]:
        if self.hydra is None:
            return contextlib.nullcontext()
        from . import hydra_state  # lazy: Hydra takes a while to import, and plain functions need none

        return hydra_state.installed(self.hydra)


@contextlib.contextmanager
def own_sessions() -> Iterator[None]:
    """What a job opened for calls of its own is closed when it ends: the process serves other jobs after it."""
    try:
        yield
    finally:
        sessions = sys.modules.get(f"{__package__.rpartition('.')[0]}.run.sessions")
        if sessions is not None:
            sessions.close_all()
