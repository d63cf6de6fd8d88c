"""What runs on the worker for a plain function: its paths filled in, among the driver's Hydra state."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..core.serialization import pickling
from ..core.slots import fill
from ..core.values.model import Paths, Slot
from .script import main_module


@dataclass(frozen=True, slots=True)
class Arguments:
    """What one call adds: its arguments, and the slots in them of its deps, then of its outs."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    slots: tuple[Slot, ...]


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
            arguments: Any = {"args": given.args, "kwargs": given.kwargs}
            for slot, path in zip(given.slots, (*paths.deps, *paths.outs), strict=True):
                arguments = fill(arguments, slot, path)
            return self.function(*arguments["args"], **arguments["kwargs"])

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
