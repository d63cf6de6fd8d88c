"""Work at the program's end: in the reverse order, while threads can still be started."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

ORDER = """
import threading
{before}
from concurrent.futures import ThreadPoolExecutor
from ray_decorator.core.machine import at_exit

def work(name):
    def at_the_end():
        try:
            with ThreadPoolExecutor(1) as pool:
                print(name, pool.submit(lambda: "done in a thread").result())
        except RuntimeError as exc:
            print(name, exc)
    return at_the_end

at_exit.register(work("first"))
at_exit.register(work("second"))
print("the end")
"""


def said(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_what_was_registered_last_runs_first_and_can_start_threads() -> None:
    assert said(ORDER.format(before="")) == [
        "the end",
        "second done in a thread",
        "first done in a thread",
    ]


@pytest.mark.parametrize(
    "before", ["del threading._register_atexit", "threading._register_atexit = None"], ids=["gone", "empty"]
)
def test_without_pythons_own_hook_it_is_atexit(before: str) -> None:
    """concurrent.futures needs the hook when it is imported, so it goes after that."""
    late = ORDER.replace("{before}\n", "").replace("def work(name)", f"{before}\n\ndef work(name)")
    assert [line.split()[0] for line in said(late)] == ["the", "second", "first"]


def test_what_is_registered_while_the_program_ends_runs_too() -> None:
    code = (
        "from ray_decorator.core.machine import at_exit\n"
        "at_exit.register(lambda: at_exit.register(lambda: print('late')))"
    )
    assert said(code) == ["late"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs glibc")
def test_what_libraries_do_at_the_end_is_left_out() -> None:
    code = """
import atexit, ctypes, sys
from ray_decorator.core.machine import at_exit
libc = ctypes.CDLL(None)
libc.on_exit(ctypes.cast(libc.abort, ctypes.c_void_p), None)
assert at_exit.end_without_destructors()
atexit.register(print, "said at the end")
sys.exit(7)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (7, "said at the end\n", "")


INTERRUPTED = """
import atexit, os, signal, sys, time
from ray_decorator.core.machine import at_exit

{before}
at_exit.keep_interrupt()
atexit.register(lambda: exec("print('imports much')"))
{end}
"""
KILL = "os.kill(os.getpid(), signal.SIGINT)"


@pytest.mark.parametrize(
    ("before", "end", "code"),
    [
        ("", KILL, -signal.SIGINT),
        ("", f"try: {KILL}; time.sleep(9)\nexcept KeyboardInterrupt: pass", 0),
        ("", "sys.exit(3)", 3),
        ("", "1 / 0", 1),
        ("sys.ps1 = '>>> '", KILL, 1),  # Python itself has forgotten it
    ],
)
def test_a_program_that_ctrl_c_ends_ends_by_sigint(before: str, end: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(before=before, end=end)],
        capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "imports much\n"), done.stderr
