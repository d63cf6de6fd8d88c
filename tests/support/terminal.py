"""A program run on a real pseudo-terminal, and what a user would then see on the screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Sequence
from dataclasses import dataclass

_PIECES = re.compile(r"\x1b\[([\d;?]*)([A-Za-z])|\x1b([78D])|([\r\n\b\a])|([^\x1b\r\n\b\a]+)")
_LINES = 40
_NOT_INHERITED = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "PYTHONUNBUFFERED")
_PATIENCE = 60.0
_A_WHILE = 1.0
"""Seconds before the user answers: the rows are redrawn a few times meanwhile."""


UNTIL_DRAWN = """
import time

def until_drawn(progress, word):
    end = time.monotonic() + 20
    while word not in getattr(progress._screen, "_rows", "") and time.monotonic() < end:
        time.sleep(0.01)
"""
"""Python source for a program that shows progress: it waits until the rows hold the word."""


@dataclass(frozen=True)
class Session:
    """``screens``: what was on the screen after each write, below what had scrolled off.

    ``raw``: all bytes, as text.
    """

    raw: str
    screens: list[list[str]]

    @property
    def last(self) -> list[str]:
        return self.screens[-1]


def run(
    program: str,
    columns: int = 100,
    lines: int = _LINES,
    stdout: int | None = None,
    typed: Sequence[tuple[str, str]] = (),
    **environ: str,
) -> Session:
    """Run Python source with stderr (and stdout, unless given) on a terminal of this size.

    ``typed``: a while after the first text of a pair has appeared, the user types the second.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in _NOT_INHERITED}
    env |= {"TERM": "xterm-256color", **environ}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=slave, stdout=stdout or slave, stderr=slave, env=env
    )
    os.close(slave)
    bound = threading.Timer(_PATIENCE, process.kill)
    bound.start()
    text = _talk(master, list(typed))
    os.close(master)
    assert process.wait() == 0, text
    bound.cancel()
    return Session(text, _screens(text))


def _talk(master: int, typed: list[tuple[str, str]]) -> str:
    seen, answered = b"", 0
    while chunk := _read(master):
        seen += chunk
        if typed and typed[0][0].encode() in seen[answered:]:
            answered = len(seen)
            threading.Timer(_A_WHILE, os.write, (master, typed.pop(0)[1].encode())).start()
    return seen.decode()


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # Linux: the last program has closed its side
        return b""


def _screens(text: str) -> list[list[str]]:
    terminal = _Terminal()
    screens = []
    for number, code, short, control, plain in _PIECES.findall(text):
        if plain:
            terminal.put(plain)
        else:
            terminal.obey(code or short or control, [int(n or 0) for n in number.strip("?").split(";")])
        screens.append(terminal.screen())
    return screens


class _Terminal:
    """Follows the few control codes met here; lines are taken to be short enough.

    What leaves the first line is kept, also from a scrolling region: so do xterm, VTE, xterm.js and tmux.
    """

    def __init__(self) -> None:
        self.gone: list[str] = []
        self.lines = [""] * _LINES
        self.y = self.x = 0
        self.bottom = _LINES - 1
        self.saved = (0, 0)

    def screen(self) -> list[str]:
        used = max(self.y, *(y for y, line in enumerate(self.lines) if line), 0)
        return [line.rstrip() for line in (*self.gone, *self.lines[: used + 1])]

    def put(self, plain: str) -> None:
        line = self.lines[self.y]
        self.lines[self.y] = line[: self.x].ljust(self.x) + plain + line[self.x + len(plain) :]
        self.x += len(plain)

    def obey(self, code: str, numbers: list[int]) -> None:
        first = numbers[0]
        if code == "\r":
            self.x = 0
        elif code in ("\n", "D"):
            self._down()
        elif code == "\b":
            self.x = max(self.x - 1, 0)
        elif code == "A":
            self.y = max(self.y - (first or 1), 0)
        elif code == "C":
            self.x += first or 1
        elif code == "H":
            self.y, self.x = min(max(first, 1), _LINES) - 1, 0
        elif code == "J":
            self.lines[self.y :] = [self.lines[self.y][: self.x]] + [""] * (_LINES - 1 - self.y)
        elif code == "K":
            self.lines[self.y] = "" if first == 2 else self.lines[self.y][: self.x]
        elif code == "r":
            self.bottom = (numbers[1] if numbers[1:] else _LINES) - 1
            self.y = self.x = 0
        elif code == "7":
            self.saved = (self.y, self.x)
        elif code == "8":
            self.y, self.x = self.saved
        elif code not in ("m", "h", "l", "\a"):
            raise AssertionError(f"a control code that this terminal does not know: {numbers}{code}")

    def _down(self) -> None:
        if self.y == self.bottom:
            self.gone.append(self.lines.pop(0))
            self.lines.insert(self.bottom, "")
        elif self.y < _LINES - 1:
            self.y += 1
