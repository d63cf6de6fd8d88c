"""A runner that misbehaves, as a real process, ends in a clear failure, and nobody waits for it for ever."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from runner_process import Runs

from ray_decorator.core.errors import ClusterError, JobError, ending
from ray_decorator.core.values.bundles import Bundle
from ray_decorator.core.values.inherited import Inherited
from ray_decorator.core.values.model import Receipt
from ray_decorator.core.values.private import Private
from ray_decorator.core.values.stores import Location
from ray_decorator.job.process.ending import code_of
from ray_decorator.node import supervisor
from ray_decorator.node.messages import Request

REQUEST = Request(
    "run", b"func", pickle.dumps(SimpleNamespace(id="an-id")), b"", b"", {}, "worker1/abc", True
)

_RUNNER = """\
#!{python}
import os, pickle, subprocess, sys, time
from multiprocessing.connection import Connection
sys.path[:0] = {path!r}
from ray_decorator.core.values.model import Receipt
from ray_decorator.node.messages import *

line = Connection(int(sys.argv[-1]))
assert line.recv_bytes() == b"a bundle"
request = pickle.loads(line.recv_bytes())
open({pid!r}, "w").write(str(os.getpid()))

def send(message):
    line.send_bytes(pickle.dumps(message))

{behaves}
"""
_PATIENTLY = "time.sleep(600)"


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], supervisor.Runner]:
    """A runner that behaves so, once it has got its first request."""
    monkeypatch.setattr(supervisor, "_ray_environ", dict)
    return lambda behaves: supervisor.Runner(program(tmp_path, behaves), b"a bundle", "digest")


def program(directory: Path, behaves: str) -> str:
    path = directory / "runner.py"
    text = _RUNNER.format(
        python=sys.executable, path=sys.path, pid=str(directory / "pid"), behaves=textwrap.dedent(behaves)
    )
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def is_gone(directory: Path) -> bool:
    pid = int((directory / "pid").read_text())
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def failure(reply: bytes) -> str:
    receipt: Receipt = pickle.loads(reply)
    assert receipt.failure is not None and receipt.failure.pickled is not None
    assert receipt.node == REQUEST.node and not receipt.fatal
    assert isinstance(pickle.loads(receipt.failure.pickled), JobError)
    return receipt.failure.summary


@pytest.mark.parametrize(
    ("sends", "problem"),
    [
        ("line.send_bytes(b'garbage')", "UnpicklingError: "),
        ("line.send_bytes(b'')", "EOFError: Ran out of input"),
        ("send(('receipt', b''))", "TypeError: unexpected tuple"),
        (
            "line.send_bytes(b'\\x80\\x04cnowhere\\nThing\\n.')",
            "ModuleNotFoundError: No module named 'nowhere'",
        ),
    ],
)
def test_what_cannot_be_read_is_a_failure_and_the_runner_is_killed(
    sends: str, problem: str, runner: Callable[[str], supervisor.Runner], tmp_path: Path
) -> None:
    made = runner(f"{sends}\n{_PATIENTLY}")
    said = failure(made.call(REQUEST, None))
    assert said.startswith("JobError: the job's process was killed: what it sent to the Ray worker could not")
    assert f"({problem}" in said
    assert not made.alive()
    assert is_gone(tmp_path)


@pytest.mark.parametrize("text", [b"hello world\n", b"\0"])
def test_text_that_a_job_writes_into_the_pipe_is_not_waited_on_for_the_rest_of_it(
    text: bytes, runner: Callable[[str], supervisor.Runner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_STALLED_SECONDS", 1.0)
    finished = "" if len(text) < 4 else "send(Finished(pickle.dumps(Receipt())))"
    made = runner(f"os.write(int(sys.argv[-1]), {text!r})\n{finished}\n{_PATIENTLY}")
    assert "TimeoutError: nothing more of a message for 1 s" in failure(made.call(REQUEST, None))
    assert is_gone(tmp_path)


def test_a_message_may_be_long_in_coming(
    runner: Callable[[str], supervisor.Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_STALLED_SECONDS", 1.0)
    made = runner(f"time.sleep(3)\nsend(Finished(pickle.dumps(Receipt(node='there'))))\n{_PATIENTLY}")
    assert pickle.loads(made.call(REQUEST, None)) == Receipt(node="there")
    made._kill()


def test_a_python_that_never_reads_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_ray_environ", dict)
    monkeypatch.setattr(supervisor, "_START_SECONDS", 1.0)
    hangs = tmp_path / "python"
    hangs.write_text(
        f"#!/bin/sh\necho $$ > {tmp_path}/pid.new\nmv {tmp_path}/pid.new {tmp_path}/pid\nexec sleep 600\n"
    )
    hangs.chmod(0o755)
    with pytest.raises(
        JobError, match=rf"{hangs} was started, and read nothing for 1 s\. See that this Python"
    ):
        supervisor.Runner(str(hangs), bytes(10_000_000), "digest")
    assert not (tmp_path / "pid").exists() or is_gone(tmp_path)


def test_a_receipt_comes_as_the_runner_made_it(runner: Callable[[str], supervisor.Runner]) -> None:
    made = runner(f"send(Finished(pickle.dumps(Receipt(node='there'))))\n{_PATIENTLY}")
    assert pickle.loads(made.call(REQUEST, None)) == Receipt(node="there")
    assert made.alive()
    made._kill()


def test_one_that_takes_no_other_job_is_left(
    runner: Callable[[str], supervisor.Runner], tmp_path: Path
) -> None:
    made = runner("send(Finished(pickle.dumps(Receipt(node='there')), last=True))")
    assert pickle.loads(made.call(REQUEST, None)) == Receipt(node="there")
    assert not made.alive() and made._code() == 0


class _Broker:
    """Asked for the newest credentials, it raises what is not in Ray's family."""

    @property
    def newest(self) -> Any:
        raise ValueError("the driver is gone")


@pytest.mark.parametrize(("broker", "problem"), [(_Broker(), "ValueError: the driver is gone"), (None, "")])
def test_a_runner_that_asks_for_credentials_is_answered_in_any_case(
    broker: Any, problem: str, runner: Callable[[str], supervisor.Runner]
) -> None:
    made = runner(
        f"""
        send(AskCredentials())
        answer = pickle.loads(line.recv_bytes())
        assert answer == NewCredentials(None, {problem!r}), answer
        send(Finished(pickle.dumps(Receipt(node="answered"))))
        {_PATIENTLY}
        """
    )
    assert pickle.loads(made.call(REQUEST, broker)) == Receipt(node="answered")
    made._kill()


_SUPERVISOR = """\
import os, pickle, sys
from types import SimpleNamespace
from ray_decorator.node import supervisor
from ray_decorator.node.messages import Request
supervisor._ray_environ = dict
supervisor._END_SECONDS = 1.0
job = pickle.dumps(SimpleNamespace(id="an-id"))
request = Request("run", b"", job, b"", b"", {}, "node", False)
supervisor.Runner(sys.argv[1], b"a bundle", "").call(request, None)
"""


@pytest.mark.parametrize(
    ("behaves", "said"),
    [
        ("os._exit(7)", "ended with exit code 7"),
        ("os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
        ("os.kill(os.getpid(), 40)", "was killed by signal 40"),
        (f"line.close()\n{_PATIENTLY}", "has closed its pipe to the Ray worker, and was killed by it"),
        # what a job has started may hold the pipe open after it
        (
            "if os.fork() == 0:\n    open('pid', 'w').write(str(os.getpid()))\n    time.sleep(600)\n"
            "time.sleep(0.5)\nos._exit(8)",
            "ended with exit code 8",
        ),
    ],
)
def test_a_runner_that_is_lost_ends_the_ray_worker(behaves: str, said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SUPERVISOR, program(tmp_path, behaves)]
    attempt = tmp_path / "node" / "jobs" / "an-id" / "attempt-a"
    attempt.mkdir(parents=True)
    environ = {**os.environ, "RAY_S3_NODE_DIR": str(tmp_path / "node")}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == f"ray-s3: the job's process {said}\n"
    assert is_gone(tmp_path)
    code = code_of(attempt)
    assert code is None if "closed" in said else code is not None and ending(code) == said


def test_an_interrupt_kills_the_runner_and_what_its_job_wrote_stays_for_a_rescue(
    runner: Callable[[str], supervisor.Runner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "node"))
    left = tmp_path / "node" / "jobs" / "an-id"
    left.mkdir(parents=True)
    made = runner(f"send(NestedRay())\n{_PATIENTLY}")

    def cancelled(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(supervisor, "lend_cpus", cancelled)  # Ray cancels wherever the task waits
    with pytest.raises(KeyboardInterrupt):
        made.call(REQUEST, None)
    assert is_gone(tmp_path)
    assert left.exists()


def test_a_node_directory_that_others_can_write_to_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "node"))
    (tmp_path / "node").mkdir(mode=0o700)
    (tmp_path / "node" / "envs").symlink_to(tmp_path)
    bundle = pickle.dumps(Bundle(None, None))
    receipt = pickle.loads(supervisor.serve(bundle, "run", b"", b"", b"", b"", None, "worker1/abc"))
    error = pickle.loads(receipt.failure.pickled)
    assert receipt.fatal and isinstance(error, ClusterError)
    assert str(error).startswith(f"Node worker1/abc: {tmp_path}/node/envs is a symlink (made by ")


def test_what_a_job_prints_appears_at_once_also_without_a_newline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervisor, "_ray_environ", dict)
    code = (
        "import subprocess, sys, time\nprint('half a line', end='')\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; print(7, end=str()); time.sleep(600)'])\n"
        "time.sleep(600)"
    )
    store = pickle.dumps(Location((tmp_path / "store").as_uri()))
    made = supervisor.Runner(sys.executable, pickle.dumps(Bundle(None, None)), "digest")
    made._connection.send_bytes(
        pickle.dumps(
            Request(
                "run",
                b"",
                pickle.dumps(Runs(code)),
                store,
                pickle.dumps(Private(None, Inherited())),
                dict(os.environ),
                "n",
                True,
            )
        )
    )
    try:
        seen, deadline = "", time.monotonic() + 60
        while seen != "half a line7":
            assert time.monotonic() < deadline, f"only {seen!r} has appeared"
            time.sleep(0.05)
            seen += capfd.readouterr().out
    finally:
        made._kill()
