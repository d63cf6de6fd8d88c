"""Where nothing can be redrawn: few log lines, and a last one for each phase."""

from __future__ import annotations

import logging
import re
import time

import pytest

from ray_decorator.display import log_lines
from ray_decorator.display.log_lines import LogProgress


def test_elsewhere_each_phase_says_in_the_end_what_it_did(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with LogProgress() as counter:
        counter.expect("hashing", 0)
        counter.expect("uploading", 5000, 107_000_000)
        counter.expect("running", 1)
        time.sleep(0.2)
        counter.advance("uploading", 5000, 107_000_000)
        counter.advance("running", 1)
        counter.expect("downloading", 3, 3_000_000)
        counter.advance("downloading", 1, 1_200_000)
    counter.stop()  # again: it has said all

    uploading, running, downloading = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(r"uploading: 5000 files, 107 MB, [\d.]+ s, [\d.]+ MB/s", uploading)
    assert re.fullmatch(r"running: 1 job, [\d.]+ s", running)
    assert downloading.startswith("downloading: 1 of 3 files, 1.2 MB of 3.0 MB, 0.0 s")


def test_elsewhere_a_phase_speaks_seldom_and_only_when_it_has_news(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    now = 1000.0
    monkeypatch.setattr(log_lines.time, "monotonic", lambda: now)
    counter = LogProgress()
    counter.expect("running", 100)
    for second in range(60):
        now = 1000.0 + second
        if second < 35:
            counter.advance("running", 1)
        counter._show()

    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "running: 11 of 100 jobs, 10.0 s",
        "running: 21 of 100 jobs, 20.0 s",
        "running: 31 of 100 jobs, 30.0 s",
        "running: 35 of 100 jobs, 40.0 s",
    ]


def test_elsewhere_what_takes_long_is_not_silent_for_long(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    now = 1000.0
    monkeypatch.setattr(log_lines.time, "monotonic", lambda: now)
    counter = LogProgress()
    counter.expect("hashing", 100)
    with counter.doing("starting Ray on this machine"):
        for second in range(1, 16):
            now = 1000.0 + second
            counter.advance("hashing", 1)
            counter._show()
    now = 2000.0
    with counter.doing("starting Ray on this machine"):
        for second in range(9):
            now = 2000.0 + second
            counter._show()
    assert [record.getMessage() for record in caplog.records] == [
        "Starting Ray on this machine",
        "hashing: 2 of 100 files, 2.0 s",
        "Still starting Ray on this machine (3.0 s)",
        "Still starting Ray on this machine (6.0 s)",
        "Still starting Ray on this machine (12.0 s)",
        "hashing: 12 of 100 files, 12.0 s",
        "hashing: 15 of 100 files, 16 min 40 s",
    ]


def test_elsewhere_what_has_no_count_is_said_once_if_it_takes_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    counter = LogProgress()
    with counter.doing("collecting the project's code"):
        pass
    with counter.doing("starting Ray on this machine"):
        counter._show()
        counter._show()
    with counter.doing("starting Ray on this machine"):
        counter._show()
    assert [record.getMessage() for record in caplog.records] == ["Starting Ray on this machine"]
