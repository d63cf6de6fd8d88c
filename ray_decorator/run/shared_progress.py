"""One display for all calls of a session that are under way at once, and none where there are none."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from ..core.progress import Phase, Progress


class SharedProgress:
    """A Progress that hands on to the display that is open now. Safe to use from several threads."""

    def __init__(self, open_display: Callable[[], contextlib.AbstractContextManager[Progress]]) -> None:
        self._open = open_display
        self._users = 0
        self._display: Progress | None = None
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Have a display for as long as the block lasts."""
        self.show()
        try:
            yield
        finally:
            self.hide()

    def show(self) -> None:
        """One more user: the first one opens the display."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._display = self._stack.enter_context(self._open())

    def hide(self) -> None:
        """One user less: the last one closes it."""
        with self._lock:
            self._users -= 1
            if not self._users:
                self._display = None
                self._stack.close()

    def expect(self, phase: Phase, items: int, size: int = 0) -> None:
        """As `Progress.expect`."""
        if (display := self._display) is not None:
            display.expect(phase, items, size)

    def advance(self, phase: Phase, items: int, size: int = 0) -> None:
        """As `Progress.advance`."""
        if (display := self._display) is not None:
            display.advance(phase, items, size)

    def doing(self, what: str) -> contextlib.AbstractContextManager[None]:
        """As `Progress.doing`."""
        display = self._display
        return contextlib.nullcontext() if display is None else display.doing(what)
