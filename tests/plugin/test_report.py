"""What a sweep prints of its jobs. Whole sweeps, with Optuna too: tests/apps/test_sweep_output.py."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import pytest

from hydra_plugins.hydra_ray_s3_launcher._report import SweepReport, end_all
from ray_decorator.core.progress import NoProgress, Progress
from ray_decorator.display.table import JobRow
from ray_decorator.run.shared_progress import SharedProgress


def row(number: int, status: str = "COMPLETED") -> JobRow:
    return JobRow(number, f"x={number}", status, 1.2, "0.93", 0, 0, f"sweep/{number}")


@pytest.fixture
def displays() -> list[str]:
    return []


@pytest.fixture
def progress(displays: list[str]) -> SharedProgress:
    @contextlib.contextmanager
    def opened() -> Iterator[Progress]:
        displays.append("open")
        yield NoProgress()
        displays.append("closed")

    return SharedProgress(opened)


def test_one_batch_ends_with_its_table(
    progress: SharedProgress,
    displays: list[str],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    report = SweepReport(progress, many_batches=False)
    with report.batch() as first:
        assert first
        report.add(row(1), "#1 x=1")
        report.add(row(0), "#0 x=0")
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["job", "0", "1", "2"]
    assert caplog.text == "" and displays == ["open", "closed"]


def test_many_batches_have_a_line_a_job_and_one_table(
    progress: SharedProgress,
    displays: list[str],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    report = SweepReport(progress, many_batches=True)
    seen = []
    for number in range(3):
        with report.batch() as first, progress.shown():
            seen.append(first)
            report.add(row(number, "FAILED" if number == 1 else "COMPLETED"), f"#{number} x={number}")
    assert seen == [True, False, False] and displays == ["open"]
    assert "3 jobs:" not in capsys.readouterr().err  # no table yet
    # of one that failed, its error was said
    assert [record.getMessage() for record in caplog.records] == [
        "#0 x=0: 0.93, 1.2 s",
        "#2 x=2: 0.93, 1.2 s",
    ]
    end_all()
    end_all()
    assert capsys.readouterr().err.count("COMPLETED") == 3 and displays == ["open", "closed"]


def test_whatever_is_raised_in_a_batch_shows_the_table(
    progress: SharedProgress, displays: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    report = SweepReport(progress, many_batches=True)
    with report.batch():
        report.add(row(0), "#0 x=0")
    with pytest.raises(KeyboardInterrupt), report.batch():
        report.add(row(1, "CANCELLED"), "#1 x=1")
        raise KeyboardInterrupt
    assert "2 jobs: 1 COMPLETED, 1 CANCELLED" in capsys.readouterr().err
    assert displays == ["open", "closed"]


def test_the_next_sweep_ends_one_whose_sweeper_has_failed(
    progress: SharedProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    failed, following = (SweepReport(progress, many_batches=True) for _ in range(2))
    with failed.batch():
        failed.add(row(0), "#0 x=0")
    with following.batch() as first:
        assert first and "1 job: 1 COMPLETED" in capsys.readouterr().err
    end_all()
