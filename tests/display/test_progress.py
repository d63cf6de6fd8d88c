"""Progress: counted from many threads for next to nothing; shown so that other output stays whole."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from terminal import Session, run

from ray_decorator.core.progress import NoProgress
from ray_decorator.core.units import human_seconds, human_size
from ray_decorator.display import progress
from ray_decorator.display.progress import (
    LogProgress,
    RichProgress,
    make_progress,
)

WAIT = """
import time

def until_drawn(progress, word, seconds=20.0):
    end = time.monotonic() + seconds
    while word not in getattr(getattr(progress, "_screen", None), "_rows", "") and time.monotonic() < end:
        time.sleep(0.01)
"""

A_RUN = """
import logging, sys
# as Hydra does: a handler that holds the stream from before
to_stdout = logging.StreamHandler(sys.stdout)
logging.basicConfig(level=logging.INFO, handlers=[to_stdout], format="[%(name)s] %(message)s")
from ray_decorator.display.progress import RichProgress, make_progress

with make_progress() as progress:
    live = isinstance(progress, RichProgress)
    progress.expect("uploading", 5000, 107_000_000)
    progress.advance("uploading", 1200, 25_680_000)
    time.sleep(0.3)
    live and until_drawn(progress, "/s")
    progress.expect("running", 20)
    progress.advance("running", 3)
    logging.getLogger("app").info("a log line")
    print("a line of a worker", file=sys.stderr)
    print("begun, ", end="")
    live and until_drawn(progress, "3/20")
    print("ended")
    print("unfinished", end="")
print(" until now")
"""


def a_run(columns: int = 100, **environ: str) -> Session:
    return run(WAIT + f"columns = {columns}" + A_RUN, columns=columns, **environ)


def with_all_rows(seen: Session) -> list[str]:
    """The last screen that showed all that was printed, and all rows."""
    return next(lines for lines in reversed(seen.screens) if "3/20" in "".join(lines[-2:]) and not lines[-1])


def test_on_a_terminal_a_line_per_phase_stands_below_all_other_output() -> None:
    seen = a_run()

    rows = with_all_rows(seen)
    assert rows[:3] == ["[app] a log line", "a line of a worker", "begun, ended"]
    assert re.fullmatch(r"uploading  ━+[╸╺]?━+  1200/5000 files  26 MB/107 MB  [\d.]+ MB/s", rows[3]), rows
    assert re.fullmatch(r"running    ━+[╸╺]?━+  jobs 3/20 done   [\d.]+ s", rows[4]), rows
    assert rows[5:] == [""]

    early = next(lines for lines in seen.screens if lines[0].startswith("uploading"))
    assert not any("running" in line for line in early), "a phase shows once it expects something"


def test_on_a_terminal_nothing_is_torn_and_nothing_is_left_behind() -> None:
    assert a_run().last == [
        "[app] a log line",
        "a line of a worker",
        "begun, ended",
        "unfinished until now",
        "",
    ]


def test_output_that_goes_to_a_file_still_goes_to_that_file(tmp_path: Path) -> None:
    with open(tmp_path / "out.txt", "wb") as file:
        seen = run(WAIT + "columns = 100" + A_RUN, stdout=file.fileno())

    assert (tmp_path / "out.txt").read_text() == "[app] a log line\nbegun, ended\nunfinished until now\n"
    assert seen.last == ["a line of a worker", ""]


def test_no_color_is_respected_and_a_dumb_terminal_gets_log_lines() -> None:
    assert "\x1b[38" in a_run().raw
    assert "\x1b[38" not in a_run(NO_COLOR="1").raw

    dumb = a_run(TERM="dumb")
    assert "\x1b" not in dumb.raw
    assert any("[ray_decorator.display.progress] uploading: 1200 of 5000 files" in line for line in dumb.last)


def test_on_a_narrow_terminal_the_numbers_stay_and_the_bars_go() -> None:
    rows = with_all_rows(a_run(columns=55))

    assert re.fullmatch(r"uploading  1200/5000 files  26 MB/107 MB  [\d.]+ MB/s", rows[3]), rows
    assert re.fullmatch(r"running    jobs 3/20 done   [\d.]+ s", rows[4]), rows
    assert rows[5:] == [""]


def test_a_run_that_is_over_at_once_draws_nothing() -> None:
    seen = run(
        "from ray_decorator.display.progress import RichProgress\n"
        "with RichProgress() as p: p.expect('hashing', 1); p.advance('hashing', 1)\n"
        "print('done')"
    )
    assert seen.raw == "done\r\n"


def test_a_second_progress_leaves_the_terminal_to_the_first() -> None:
    seen = run(
        WAIT + "from ray_decorator.display.progress import RichProgress\n"
        "with RichProgress() as first:\n"
        "    first.expect('uploading', 2)\n"
        "    until_drawn(first, 'uploading')\n"
        "    with RichProgress() as second:\n"
        "        second.expect('downloading', 2)\n"
        "        time.sleep(0.4)\n"
        "print('done')"
    )
    assert "uploading" in seen.raw
    assert "downloading" not in seen.raw
    assert seen.last == ["done", ""]


def test_a_forked_child_prints_past_the_rows() -> None:
    seen = run(
        WAIT + "import os\n"
        "from ray_decorator.display.progress import RichProgress\n"
        "with RichProgress() as progress:\n"
        "    progress.expect('uploading', 2)\n"
        "    until_drawn(progress, 'uploading')\n"
        "    if os.fork() == 0:\n"
        "        print('from the child', flush=True)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    assert seen.raw.count("from the child") == 1


def test_a_terminal_that_goes_away_does_not_fail_the_work() -> None:
    program = (
        WAIT + "import os\n"
        "from ray_decorator.display.progress import RichProgress\n"
        "with RichProgress() as progress:\n"
        "    progress.expect('uploading', 2)\n"
        "    until_drawn(progress, 'uploading')\n"
        "    os.dup2(os.open('/dev/full', os.O_WRONLY), 2)\n"
        "    progress.advance('uploading', 1)\n"
        "    time.sleep(0.4)\n"
    )
    assert "uploading" in run(program).raw


@pytest.mark.parametrize("kind", [RichProgress, LogProgress, NoProgress])
def test_an_item_costs_next_to_nothing(kind: type[RichProgress | LogProgress | NoProgress]) -> None:
    counter = kind()
    counter.expect("uploading", 100_000, 10**9)
    best = min(_seconds_for_100_000(counter) for _ in range(3))
    assert best < 0.1


def _seconds_for_100_000(counter: progress.Progress) -> float:
    begin = time.perf_counter()
    for _ in range(100_000):
        counter.advance("uploading", 1, 10_000)
    return time.perf_counter() - begin


def test_no_count_is_lost_between_threads() -> None:
    counter = LogProgress()

    def work() -> None:
        for _ in range(5_000):
            counter.expect("hashing", 1, 10)
            counter.advance("hashing", 1, 10)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (tally,) = counter.tallies()
    assert (tally.items, tally.items_done, tally.size, tally.size_done) == (40_000, 40_000, 400_000, 400_000)


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
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
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


def test_seconds_count_only_while_something_is_left_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    counter = LogProgress()
    for _ in range(3):
        counter.expect("downloading", 1, 1_000_000)
        now += 1.0
        counter.advance("downloading", 1, 1_000_000)
        now += 100.0
    (tally,) = counter.tallies()
    assert (tally.seconds, tally.rate, tally.finished) == (3.0, "1.0 MB/s", True)


def test_a_pipe_gets_log_lines() -> None:
    assert not sys.stderr.isatty()
    assert isinstance(make_progress(), LogProgress)


def test_importing_it_imports_neither_rich_nor_ray() -> None:
    check = (
        "import sys, ray_decorator.display.progress, ray_decorator.display.table\n"
        "assert not {'rich', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (950, "950 B"), (1_234_567, "1.2 MB"), (107_000_000, "107 MB"), (9_960_000, "10 MB"),
     (999_600, "1.0 MB"), (3.2e12, "3.2 TB"), (7e18, "7000 PB")],
)  # fmt: skip
def test_human_size(size: float, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (3.14, "3.1 s"), (59.97, "1 min 00 s"), (125, "2 min 05 s"), (3725, "1 h 02 min")],
)
def test_human_seconds(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text
