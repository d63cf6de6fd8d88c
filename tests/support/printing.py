"""An app whose jobs print in many ways, and what its user sees of that."""

from __future__ import annotations

import re
import socket
import subprocess

APP = """
import ctypes, logging, socket, subprocess, sys, time

from ray_decorator import ray_decorator


def job(kind, port):
    if kind == "lines":
        for number in range(50):
            print("line", number)
    if kind == "logging":
        logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
        logging.info("a log line")
    if kind == "c":
        ctypes.CDLL(None).printf(b"of C\\n")
        ctypes.CDLL(None).printf(b"C without a newline")
    if kind == "children":
        subprocess.run([sys.executable, "-c", "print('of a child')"])
        subprocess.run(["sh", "-c", "echo of a shell"])
    if kind == "unfinished":
        print("no newline", end="")
    if kind == "waits":  # until the user has seen what it printed
        print("half", end="")
        with socket.create_connection(("127.0.0.1", port), 60) as user:
            user.recv(1)
        print(" whole")
    if kind == "child waits":
        child = "import socket; print('child', end=''); socket.create_connection(('127.0.0.1', %d), 60).recv(1)"
        subprocess.run([sys.executable, "-c", child % port])
    if kind == "tqdm":
        with socket.create_connection(("127.0.0.1", port), 60) as user:
            sys.stderr.write("\\r 10%|#    |")
            sys.stderr.flush()
            user.recv(1)
    return kind


there = ray_decorator(**__import__("json").loads(sys.argv[1]))(job)
for kind in sys.argv[3:]:
    there(kind, int(sys.argv[2]))
    print("==", kind, "is done", flush=True)
"""

ALL_AT_ONCE = {
    "lines": [f"line {number}" for number in range(50)],
    "unfinished": ["no newline"],
    "logging": ["a log line"],
    "c": ["of C", "C without a newline"],
    "children": ["of a child", "of a shell"],
}
"""What jobs print, by their kind."""

WHILE_IT_RUNS = {"waits": "half", "child waits": "child", "tqdm": " 10%|#    |"}
"""What must be seen before a job goes on: no line of it is finished then."""

KINDS = (*WHILE_IT_RUNS, *ALL_AT_ONCE, "silent")

_LABEL = re.compile(r"\(job pid=\d+(, ip=[^)]*)?\) ")


def seen_of(output: str) -> dict[str, list[str]]:
    """What the user had seen of each job when it was reported as done, without Ray's label."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    # Ray Client colours its labels, whatever the driver writes to
    for line in re.sub(r"\x1b\[\d*m", "", output).splitlines():
        if line.startswith("== "):
            found[line.removeprefix("== ").removesuffix(" is done")] = lines
            lines = []
        elif _LABEL.match(line):
            lines.append(_LABEL.sub("", line))
    assert not lines, f"of a job that was reported as done: {lines}"
    return found


def converse(process: subprocess.Popen[str], listener: socket.socket) -> str:
    """Let each job that waits go on once its user sees what it printed; all that the user saw."""
    assert process.stdout is not None
    output, awaited = "", list(WHILE_IT_RUNS.values())
    listener.settimeout(60)
    for line in process.stdout:
        output += line
        if awaited and awaited[0] in line:
            del awaited[0]
            listener.accept()[0].close()
    assert process.wait(60) == 0 and not awaited, output
    return output


def check(output: str) -> None:
    """It is what the user sees of a program with jobs of all kinds, each one's before it was reported as done."""
    seen = {
        kind: [line for line in lines if not line.startswith("ray-s3: ")]
        for kind, lines in seen_of(output).items()
    }
    assert set(seen) == set(KINDS)
    assert {kind: seen[kind] for kind in ALL_AT_ONCE} == ALL_AT_ONCE and seen["silent"] == []
    assert [line.strip() for line in seen["waits"]] == ["half", "whole"]
    assert "ray_s3_end" not in output
