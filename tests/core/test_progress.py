"""The protocol that all sides count with."""

from __future__ import annotations

from typing import get_args

from ray_decorator.core.progress import NoProgress, Phase, Progress


def test_where_nobody_looks_every_phase_can_be_counted_all_the_same() -> None:
    progress: Progress = NoProgress()
    for phase in get_args(Phase):
        progress.expect(phase, 2, 100)
        progress.advance(phase, 1, 50)
        progress.advance(phase, 0, size=10)


def test_the_phases_are_named_in_the_order_in_which_they_are_shown() -> None:
    assert get_args(Phase) == ("hashing", "uploading", "running", "downloading")
