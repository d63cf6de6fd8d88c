"""Which progress suits the place: live rows or log lines."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from terminal import run

from ray_decorator.display.log_lines import LogProgress
from ray_decorator.display.progress import make_progress

MADE = """
import logging
logging.basicConfig(level=logging.INFO, format="[%(name)s] %(message)s")
from ray_decorator.display.progress import make_progress

with make_progress() as progress:
    progress.expect("uploading", 5000)
    progress.advance("uploading", 1200)
    print(type(progress).__name__)
"""


def test_a_terminal_gets_live_rows() -> None:
    assert run(MADE).last[0] == "RichProgress"


def test_a_terminal_that_cannot_redraw_gets_log_lines() -> None:
    for seen in (run(MADE, TERM="dumb"), run(MADE, lines=0, columns=0)):
        assert "\x1b" not in seen.raw
        assert seen.last[0] == "LogProgress"
        assert seen.last[1].startswith("[ray_decorator.display.log_lines] uploading: 1200 of 5000 files")


def test_a_stream_without_a_file_gets_log_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", stream)
    assert isinstance(make_progress(), LogProgress)


def test_a_pipe_gets_log_lines() -> None:
    assert not sys.stderr.isatty()
    assert isinstance(make_progress(), LogProgress)


def test_importing_it_imports_neither_rich_nor_ray() -> None:
    check = (
        "import sys, ray_decorator.display.progress, ray_decorator.display.table\n"
        "assert not {'rich', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
