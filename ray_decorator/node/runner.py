"""The process in which jobs run on a node that is not the driver's machine: see supervisor.py.

Its code is put down once and stays where it is for as long as the process lives: modules keep their
``__file__``. Its jobs share the working directory, as the jobs of a local sweep do.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..core.errors import MissingObjectError
from ..core.failures import failure_of
from ..core.model import Bundle, Credentials, Receipt, Requirements
from ..job.run import location, serve_job
from ..job.workplace import workplace
from ..store.store import open_store

_ENVIRON = (
    "PYTHONPATH",
    "PATH",
    "RAY_ADDRESS",
    "RAY_RUNTIME_ENV_HOOK",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV",
    "RAY_S3_NODE_ID",
    "RAY_S3_WORKING_DIR",
)
"""What the supervisor set for this process; everything else is the Ray worker's, which may change."""

_line: _Line | None = None
_requirements: Requirements | None = None


def main() -> None:
    """Serve requests until the pipe ends; its number is the only argument."""
    global _line, _requirements
    _line = line = _Line(Connection(int(sys.argv[1])))
    bundle: Bundle = pickle.loads(line.first)
    _requirements = bundle.requirements
    if sys.path[:1] == [os.getcwd()]:  # put there by `python -m`, and no place of the user's
        del sys.path[0]
    with contextlib.ExitStack() as stack:
        prepared = False
        while (request := line.requests.get()) is not None:
            verb, func, job, place, credentials, environ, node, renewable = request
            _take_over(environ)
            store, renew = location(place, credentials), line.fresh_credentials if renewable else None
            receipt: Receipt | None
            try:
                if not prepared:
                    stack.enter_context(workplace(bundle.code, open_store(store, renew), _working_dir()))
                    prepared = True
                receipt = serve_job(verb, func, job, store, renew, node)
            except MissingObjectError as exc:  # of the code; what a job lacks is in its receipt
                receipt = Receipt(missing=exc.digests, node=node)
            except BaseException as exc:
                receipt = Receipt(failure=failure_of(exc), node=node)
            _leave_ray()
            line.send("receipt", pickle.dumps(receipt))


def nested_ray_begins() -> Requirements | None:
    """Let this process's Ray worker lend its CPUs; returns what the jobs' packages are."""
    if _line is not None:
        _line.send("nested", None)
    return _requirements


class _Line:
    """The pipe to the supervisor. Its end ends this process, whatever runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._credentials: queue.Queue[Credentials | None] = queue.Queue()
        self.requests: queue.Queue[Any] = queue.Queue()
        self.idle = True
        self.first = connection.recv_bytes()
        threading.Thread(target=self._listen, name="ray-s3-line", daemon=True).start()

    def send(self, kind: str, data: Any) -> None:
        with self._lock:
            if kind == "receipt":
                self.idle = True
            self._connection.send_bytes(pickle.dumps((kind, data)))

    def fresh_credentials(self) -> Credentials | None:
        with self._asking:
            self.send("credentials", None)
            return self._credentials.get()

    def _listen(self) -> None:
        try:
            while True:
                message = pickle.loads(self._connection.recv_bytes())
                if message[0] == "credentials":
                    self._credentials.put(message[1])
                else:
                    self.idle = False
                    self.requests.put(message)
        except (EOFError, OSError):
            if self.idle:
                self.requests.put(None)
            else:  # nobody waits for the job any more: with it goes all that it has started
                os.killpg(0, signal.SIGKILL)


def _take_over(environ: dict[str, str]) -> None:
    """The Ray worker's environment of this moment: CUDA_VISIBLE_DEVICES, say, is a job's own."""
    ours = {name: os.environ[name] for name in _ENVIRON if name in os.environ}
    wanted = {**environ, **ours}
    if dict(os.environ) != wanted:
        os.environ.clear()
        os.environ.update(wanted)


def _working_dir() -> Path | None:
    named = os.environ.get("RAY_S3_WORKING_DIR")
    return Path(named) if named else None


def _leave_ray() -> None:
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()
