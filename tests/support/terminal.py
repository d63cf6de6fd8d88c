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
from dataclasses import dataclass

_PIECES = re.compile(r"\x1b\[([\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


@dataclass(frozen=True)
class Session:
    """``screens``: the lines on the screen after each write; ``raw``: all bytes, as text."""

    raw: str
    screens: list[list[str]]

    @property
    def last(self) -> list[str]:
        return self.screens[-1]


def run(program: str, columns: int = 100, stdout: int | None = None, **environ: str) -> Session:
    """Run Python source with stderr (and stdout, unless given) on a terminal of so many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")}
    env |= {"TERM": "xterm-256color", **environ}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=slave, stdout=stdout or slave, stderr=slave, env=env
    )
    os.close(slave)
    chunks = []
    while chunk := _read(master):
        chunks.append(chunk)
    os.close(master)
    assert process.wait(60) == 0, b"".join(chunks).decode()
    text = b"".join(chunks).decode()
    return Session(text, _screens(text))


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # Linux: the last program has closed its side
        return b""


def _screens(text: str) -> list[list[str]]:
    """Follow the few control codes that this project writes; lines are taken to be short enough."""
    lines, y, x, screens = [""], 0, 0, []
    for number, code, control, plain in _PIECES.findall(text):
        if plain:
            lines[y] = lines[y][:x].ljust(x) + plain + lines[y][x + len(plain) :]
            x += len(plain)
        elif control == "\r":
            x = 0
        elif control == "\n":
            y += 1
            lines += [""] * (y + 1 - len(lines))
        elif code == "A":
            y = max(y - int(number or 1), 0)
        elif code == "J":
            lines = [*lines[:y], lines[y][:x]]
        elif code != "m":
            raise AssertionError(f"a control code that this terminal does not know: {number}{code}")
        screens.append([line.rstrip() for line in lines])
    return screens
