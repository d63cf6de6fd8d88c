"""One display for all that is under way, opened with the first and closed with the last."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ray_decorator.core.progress import NoProgress, Progress
from ray_decorator.run.shared_progress import SharedProgress


def test_a_display_is_open_while_anybody_needs_it() -> None:
    events: list[str] = []

    class Display(NoProgress):
        def expect(self, phase: object, items: int, size: int = 0) -> None:
            events.append(f"expect {items}")

        def advance(self, phase: object, items: int, size: int = 0) -> None:
            events.append(f"advance {items}")

        @contextlib.contextmanager
        def doing(self, what: str) -> Iterator[None]:
            events.append(what)
            yield
            events.append("done")

    @contextlib.contextmanager
    def opened() -> Iterator[Progress]:
        events.append("open")
        yield Display()
        events.append("close")

    progress = SharedProgress(opened)
    progress.expect("running", 9)
    with progress.doing("nobody sees it"), progress.shown():
        progress.show()
        with progress.doing("connecting"):
            progress.expect("running", 1)
    progress.advance("running", 1)
    progress.hide()
    progress.advance("running", 9)
    with progress.shown():
        pass
    assert events == ["open", "connecting", "expect 1", "done", "advance 1", "close", "open", "close"]
