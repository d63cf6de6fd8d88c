"""What runs on the worker for a plain function: its paths filled in, among the driver's Hydra state."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.model import Slot
from ..core.slots import fill
from . import main_module


@dataclass(frozen=True, slots=True)
class Task:
    """A function with what its calls share; pickled once for all of them.

    ``hydra`` is the driver's state (``hydrastate.State``), None where neither configs nor a Hydra app are
    involved. ``main`` is the driver's ``__main__``.
    """

    function: Callable[..., Any]
    hydra: bytes | None
    main: main_module.Main

    def __call__(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], slots: Sequence[Slot], paths: Sequence[str]
    ) -> Any:
        """Call the function with ``paths``, this machine's, in ``slots``."""
        with self._hydra(), main_module.installed(self.main, self.function):
            arguments: Any = {"args": args, "kwargs": kwargs}
            # here rather than by the worker: an interpolation on the way may need Hydra's resolvers
            for slot, path in zip(slots, paths, strict=True):
                arguments = fill(arguments, slot, path)
            return self.function(*arguments["args"], **arguments["kwargs"])

    def _hydra(self) -> contextlib.AbstractContextManager[None]:
        if self.hydra is None:
            return contextlib.nullcontext()
        from . import hydra_state  # lazy: Hydra takes a while to import, and plain functions need none

        return hydra_state.installed(self.hydra)
