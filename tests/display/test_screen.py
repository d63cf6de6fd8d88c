"""Rows at the foot of a terminal, while all else goes on above them as if they were not there."""

from __future__ import annotations

import re
import textwrap
from itertools import pairwise

import pytest
from terminal import UNTIL_DRAWN, Session, run

pytestmark = pytest.mark.app

LIVE = f"""
{UNTIL_DRAWN}
import fcntl, logging, os, pdb, signal, struct, subprocess, sys, termios
# as Hydra does: a handler that holds the stream from before
to_stdout = logging.StreamHandler(sys.stdout)
logging.basicConfig(level=logging.INFO, handlers=[to_stdout], format="[%(name)s] %(message)s")
from ray_decorator.display.live import RichProgress

def redraw():
    progress.advance("running", 1)
    until_drawn(progress, f"{{progress.tallies()[-1].items_done}}/20")

progress = RichProgress()
with progress:
    progress.expect("running", 20)
    until_drawn(progress, "0/20")
"""


def live(body: str, typed: tuple[tuple[str, str], ...] = ()) -> Session:
    """Run the body while a row is shown; ``redraw()`` in it waits until the row has changed."""
    return run(LIVE + textwrap.indent(textwrap.dedent(body), "    "), typed=typed)


def above_the_row(screen: list[str]) -> list[str]:
    """The lines of a screen that has the row at its very foot; no line of one that has not."""
    shown = [line for line in screen if line]
    return shown[:-1] if len(screen) >= 40 and shown and shown[-1].startswith("running") else []


def test_every_tqdm_refresh_shows_at_once_and_none_redraws_the_rows() -> None:
    seen = live("""
        from tqdm import tqdm
        for _ in tqdm(range(20_000), mininterval=0, miniters=1, ncols=60, ascii=True): pass
    """)

    assert seen.raw.count("it/s") >= 20_000
    assert seen.raw.count("running") < 2_000, "a few redraws a second"
    bars = [[line for line in screen if "%|" in line] for screen in seen.screens]
    assert max(map(len, bars)) == 1
    above = ["".join(above_the_row(screen)) for screen in seen.screens]
    halfway = [line for line in above if line.startswith(" 50%|##")]
    assert len(halfway) > 100
    assert seen.last[0].startswith("100%|##") and seen.last[1:] == [""]


def test_nested_tqdm_bars_have_a_line_each() -> None:
    seen = live("""
        from tqdm import tqdm
        for _ in tqdm(range(2), desc="outer", ncols=60, ascii=True):
            for _ in tqdm(range(2), desc="inner", ncols=60, ascii=True, leave=False):
                redraw()
    """)
    both = [above for screen in seen.screens if len(above := above_the_row(screen)) == 2]
    assert any(re.match("outer:  50%.*inner:  50%", " ".join(above)) for above in both)
    assert seen.last[0].startswith("outer: 100%") and not "".join(seen.last[1:])


def test_input_shows_its_prompt_until_the_answer_is_typed() -> None:
    seen = live(
        """
        print("hello", input("name? "))
        redraw()
        """,
        typed=(("name? ", "Ada\n"),),
    )
    before = next(before for before, after in pairwise(seen.screens) if "name? Ada" in after)
    assert above_the_row(before) == ["name?"]
    assert seen.last == ["name? Ada", "hello Ada", ""]


def test_the_debugger_can_be_used() -> None:
    seen = live(
        """
        secret = 41
        pdb.set_trace()
        redraw()
        print("went on")
        """,
        typed=(("(Pdb) ", "p secret + 1\n"), ("(Pdb) ", "c\n")),
    )
    before = next(before for before, after in pairwise(seen.screens) if "(Pdb) p secret + 1" in after)
    assert above_the_row(before)[-1] == "(Pdb)"
    assert seen.last[-5:] == ["(Pdb) p secret + 1", "42", "(Pdb) c", "went on", ""]


def test_an_unfinished_line_shows_when_it_is_flushed_and_is_finished_later() -> None:
    seen = live("""
        print("abc", end="", flush=True)
        redraw()
        progress.expect("uploading", 2)
        until_drawn(progress, "uploading")
        print("def")
        redraw()
    """)
    assert any(above_the_row(screen) == ["abc"] for screen in seen.screens), "under one row"
    assert any(
        above_the_row(screen)[:1] == ["abc"]
        for screen in seen.screens
        if "uploading" in "".join(screen[-2:-1])
    )
    assert seen.last == ["abcdef", ""]


def test_what_never_passes_through_this_python_shows_and_stays() -> None:
    seen = live("""
        slowly = "echo a process; echo on stderr >&2; printf begun; sleep 0.5; echo , ended"
        subprocess.run(["sh", "-c", slowly])
        redraw()
        if os.fork() == 0:
            print("a forked child", flush=True)
            os._exit(0)
        os.wait()
        redraw()
        os.write(2, b"a library\\n")
        redraw()
        logging.getLogger("app").info("a log line")
        redraw()
    """)
    everything = ["a process", "on stderr", "begun, ended", "a forked child", "a library", "[app] a log line"]
    assert any(above_the_row(screen) == everything for screen in seen.screens)
    assert any(above_the_row(screen)[2:] == ["begun"] for screen in seen.screens)
    assert seen.last == [*everything, ""]


def test_more_lines_than_the_terminal_has_scroll_above_the_rows() -> None:
    seen = live("""
        for n in range(100):
            print("line", n)
            if n % 25 == 3:
                redraw()
        progress.expect("uploading", 2)
        until_drawn(progress, "uploading")
        print("the end")
        redraw()
    """)
    assert seen.last == [*(f"line {n}" for n in range(100)), "the end", ""]
    rows = next(screen[-2:] for screen in reversed(seen.screens) if "/20" in screen[-1])
    assert [row.split()[0] for row in rows] == ["uploading", "running"]


def test_a_terminal_that_changes_its_size_gets_the_rows_at_its_new_foot() -> None:
    seen = live("""
        def resize(lines): fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 100, 0, 0))
        print("abc", end="", flush=True)
        resize(30)
        redraw()
        resize(40)
        redraw()
    """)
    smaller = next(screen for screen in reversed(seen.screens) if "1/20" in screen[-1])
    assert (len(smaller), smaller[0], "".join(smaller[1:-1])) == (30, "abc", "")
    assert any(above_the_row(screen) == ["abc"] for screen in seen.screens if "2/20" in screen[-1])
    assert seen.last == ["abc"]


def test_a_process_that_is_killed_leaves_a_usable_terminal() -> None:
    killed = LIVE + "    print('out')\n    redraw()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    shell = (
        "import subprocess, sys\n"
        f"print(subprocess.run([sys.executable, '-c', {killed!r}]).returncode)\n"
        "for n in range(50): print('$', n)\n"
    )
    seen = run(shell)
    assert "running" in seen.raw
    assert "\x1b[?25l" not in seen.raw, "a cursor that is hidden would stay so"
    assert seen.last == ["out", "-9", *(f"$ {n}" for n in range(50)), ""]


def test_rows_that_do_not_fit_are_not_shown() -> None:
    seen = run(
        "from ray_decorator.display.screen import Row, Screen\n"
        "screen = Screen()\n"
        "screen.draw([Row('uploading', 0.5, ())])\n"
        "screen.close()\n"
        "print('done')",
        lines=4,
    )
    assert "uploading" not in seen.raw
    assert seen.last == ["done", ""]
