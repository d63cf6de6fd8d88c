"""Live progress on a real terminal: other output stays whole, above the rows."""

from __future__ import annotations

import re
from pathlib import Path

from terminal import UNTIL_DRAWN, Session, run

A_RUN = f"""
{UNTIL_DRAWN}
import logging, sys
# as Hydra does: a handler that holds the stream from before
to_stdout = logging.StreamHandler(sys.stdout)
logging.basicConfig(level=logging.INFO, handlers=[to_stdout], format="[%(name)s] %(message)s")
from ray_decorator.display.live import RichProgress

with RichProgress() as progress:
    progress.expect("uploading", 5000, 107_000_000)
    progress.advance("uploading", 1200, 25_680_000)
    time.sleep(0.3)
    until_drawn(progress, "/s")
    progress.expect("running", 20)
    progress.advance("running", 3)
    logging.getLogger("app").info("a log line")
    print("a line of a worker", file=sys.stderr)
    print("begun, ", end="")
    until_drawn(progress, "3/20")
    print("ended")
    print("unfinished", end="")
print(" until now")
"""


def a_run(columns: int = 100, **environ: str) -> Session:
    return run(A_RUN, columns=columns, **environ)


def with_all_rows(seen: Session) -> list[str]:
    """The last screen that showed all that was printed, and all rows, without its empty lines."""
    last = next(screen for screen in reversed(seen.screens) if "3/20" in screen[-1] and len(screen) == 40)
    return [line for line in last if line]


def test_a_line_per_phase_is_below_all_other_output() -> None:
    seen = a_run()

    rows = with_all_rows(seen)
    assert rows[:3] == ["[app] a log line", "a line of a worker", "begun, ended"]
    assert re.fullmatch(r"uploading  ━+[╸╺]?━+  1200/5000 files  26 MB/107 MB  [\d.]+ MB/s", rows[3]), rows
    assert re.fullmatch(r"running    ━+[╸╺]?━+  jobs 3/20 done   [\d.]+ s", rows[4]), rows
    assert rows[5:] == []

    early = next(lines for lines in seen.screens if lines[-1].startswith("uploading"))
    assert not any("running" in line for line in early), "a phase shows once it expects something"


def test_nothing_is_torn_and_nothing_is_left_behind() -> None:
    assert a_run().last == [
        "[app] a log line",
        "a line of a worker",
        "begun, ended",
        "unfinished until now",
        "",
    ]


def test_output_that_goes_to_a_file_still_goes_to_that_file(tmp_path: Path) -> None:
    with open(tmp_path / "out.txt", "wb") as file:
        seen = run(A_RUN, stdout=file.fileno())

    assert (tmp_path / "out.txt").read_text() == "[app] a log line\nbegun, ended\nunfinished until now\n"
    assert seen.last == ["a line of a worker", ""]


def test_no_color_is_respected() -> None:
    assert "\x1b[38" in a_run().raw
    assert "\x1b[38" not in a_run(NO_COLOR="1").raw


def test_on_a_narrow_terminal_the_numbers_stay_and_the_bars_go() -> None:
    rows = with_all_rows(a_run(columns=55))

    assert re.fullmatch(r"uploading  1200/5000 files  26 MB/107 MB  [\d.]+ MB/s", rows[3]), rows
    assert re.fullmatch(r"running    jobs 3/20 done   [\d.]+ s", rows[4]), rows
    assert rows[5:] == []


def test_a_run_that_is_over_at_once_draws_nothing() -> None:
    seen = run(
        "from ray_decorator.display.live import RichProgress\n"
        "with RichProgress() as p: p.expect('hashing', 1); p.advance('hashing', 1)\n"
        "print('done')"
    )
    assert seen.raw == "done\r\n"


def test_a_second_progress_leaves_the_terminal_to_the_first() -> None:
    seen = run(
        UNTIL_DRAWN + "from ray_decorator.display.live import RichProgress\n"
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
        UNTIL_DRAWN + "import os\n"
        "from ray_decorator.display.live import RichProgress\n"
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
        UNTIL_DRAWN + "import os\n"
        "from ray_decorator.display.live import RichProgress\n"
        "with RichProgress() as progress:\n"
        "    progress.expect('uploading', 2)\n"
        "    until_drawn(progress, 'uploading')\n"
        "    os.dup2(os.open('/dev/full', os.O_WRONLY), 2)\n"
        "    progress.advance('uploading', 1)\n"
        "    time.sleep(0.4)\n"
    )
    assert "uploading" in run(program).raw


def test_what_has_no_count_is_said_below_the_rows_while_it_lasts() -> None:
    seen = run(
        UNTIL_DRAWN + "from ray_decorator.display.live import RichProgress\n"
        "with RichProgress() as progress:\n"
        "    with progress.doing('starting Ray on this machine'):\n"
        "        until_drawn(progress, 'starting Ray')\n"
        "        progress.expect('hashing', 2)\n"
        "        until_drawn(progress, 'hashing')\n"
        "    progress.expect('running', 6)\n"
        "    until_drawn(progress, 'running')\n"
        "print('done')"
    )
    assert any(re.fullmatch(r"starting Ray on this machine  [\d.]+ s", screen[-1]) for screen in seen.screens)
    assert any(
        screen[-2].startswith("hashing") and screen[-1].startswith("starting Ray")
        for screen in seen.screens
        if len(screen) == 40
    )
    running = next(screen for screen in seen.screens if screen[-1].startswith("running"))
    assert not any("starting" in line for line in running)
    assert seen.last == ["done", ""]


def test_what_is_too_long_for_the_terminal_takes_one_line() -> None:
    seen = run(
        UNTIL_DRAWN + "from ray_decorator.display.live import RichProgress\n"
        "with RichProgress() as progress, progress.doing('connecting to ' + 'x' * 90):\n"
        "    until_drawn(progress, 'connecting')\n"
        "    time.sleep(0.5)\n",
        columns=60,
    )
    shown = {tuple(line for line in screen if "x" in line) for screen in seen.screens} - {()}
    assert shown and all(re.fullmatch(r"connecting to x+…", line) for (line,) in shown)
