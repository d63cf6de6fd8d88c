"""The Python that tests start most apps with does what Python itself does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import warm_python

PROGRAM = """
import atexit, os, sys, warnings
print(sys.argv, sys.orig_argv[1:], os.getcwd(), os.environ.get("COLOUR"), sys.stdin.read())
main = sys.modules["__main__"]
print(__name__, main.__dict__ is globals(), sys.path[0], globals().get("__file__"), __spec__, __package__)
print(type(__loader__).__name__, globals().get("__cached__"))
warnings.warn("not shown")
atexit.register(print, "at exit")
def ends(how):
    if how == "raises":
        raise ValueError("a reason")
    if how == "interrupted":
        raise KeyboardInterrupt
    if how.startswith("signal"):
        os.kill(os.getpid(), int(how[6:]))
    sys.exit({"code": 3, "text": "a last word", "none": None}[how])
ends(sys.argv[-1])
"""


@pytest.mark.parametrize("how", ["code", "text", "none", "raises", "interrupted", "signal9", "signal15"])
def test_a_program_runs_and_ends_as_ever(tmp_path: Path, how: str) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "app.py").write_text(PROGRAM)
    seen = []
    for python in ([sys.executable], warm_python.starter()):
        for program in (["there/app.py"], ["-c", PROGRAM]):
            done = subprocess.run(
                [*python, "-W", "ignore", *program, "x=1", how], cwd=tmp_path, input="given", text=True,
                env={**os.environ, "COLOUR": "green"}, capture_output=True, timeout=60,
            )  # fmt: skip
            seen.append((done.returncode, done.stdout.replace("'-W', 'ignore', ", ""), done.stderr))
    assert seen[:2] == seen[2:]


def test_signals_reach_it_and_it_ends_with_who_asked_for_it(tmp_path: Path) -> None:
    program = """if True:
        import os, time
        try:
            print(os.getpid(), flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            print("heard")
        """
    asked = [
        subprocess.Popen([*warm_python.starter(), "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    pids = [int(each.stdout.readline()) for each in asked if each.stdout]
    asked[0].send_signal(signal.SIGINT)
    assert asked[0].communicate(timeout=30)[0] == "heard\n" and asked[0].returncode == 0
    asked[1].kill()
    assert asked[1].communicate(timeout=30)[0] == ""  # the end of its output: nobody has it any more
    assert len(pids) == 2
