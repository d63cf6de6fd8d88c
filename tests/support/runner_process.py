"""A real runner (with its guard), and the supervisor's end of its pipe."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from ray_decorator.core.values.bundles import Bundle
from ray_decorator.core.values.inherited import Inherited
from ray_decorator.core.values.model import Receipt
from ray_decorator.core.values.private import Private
from ray_decorator.core.values.stores import Location
from ray_decorator.node.messages import Finished, Request


class Runs:
    """Unpickled, it runs this code: where a runner unpickles its job."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (self._code, {})


class RunnerProcess:
    """The process, and what a supervisor says to it."""

    def __init__(self, directory: Path) -> None:
        self._store = Location((directory / "store").as_uri())
        self._environ = {**os.environ, "RAY_S3_NODE_DIR": str(directory / "node")}
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ray_decorator.node.guard", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=directory,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        theirs.close()
        self.line = Connection(ours.detach())
        self.send(Bundle(None, None))

    def send(self, message: Any) -> None:
        self.line.send_bytes(pickle.dumps(message))

    def start(self, code: str) -> None:
        """Have it do a job that is this code, and fails afterwards at the latest."""
        self.send(
            Request(
                "run", b"", pickle.dumps(Runs(code)), pickle.dumps(self._store),
                pickle.dumps(Private(None, Inherited())),
                self._environ, "worker1/abc", True,
            )
        )  # fmt: skip

    def received(self) -> Any:
        assert self.line.poll(60), "the runner says nothing"
        return pickle.loads(self.line.recv_bytes())

    def failure(self) -> str:
        """What the job has failed of."""
        message = self.received()
        assert isinstance(message, Finished)
        receipt: Receipt = pickle.loads(message.receipt)
        assert receipt.failure is not None and receipt.node == "worker1/abc"
        return receipt.failure.summary

    def code(self) -> int:
        return self.process.wait(60)

    def stderr(self) -> str:
        """All of it; once the process has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read()


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[RunnerProcess]:
    (tmp_path / "store").mkdir()
    made = RunnerProcess(tmp_path)
    try:
        yield made
    finally:
        made.line.close()
        with suppress(ProcessLookupError):
            os.killpg(made.process.pid, signal.SIGKILL)
        made.process.communicate(timeout=60)
