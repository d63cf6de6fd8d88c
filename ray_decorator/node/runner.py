"""The process in which jobs run on a node that is not the driver's machine: see supervisor.py.

Its code is put down once and stays where it is for as long as the process lives: modules keep their
``__file__``. Its jobs share the working directory, as the jobs of a local sweep do.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from ..core.errors import CorruptObjectError, MissingObjectError
from ..core.serialization.failures import failure_of
from ..core.values.bundles import Bundle, Requirements
from ..core.values.model import Receipt
from ..core.values.stores import Credentials
from ..job.disk.disk_errors import of_disk
from ..job.process.leftovers import Before, kill_descendants
from ..job.process.process_state import working_directory
from ..job.process.workplace import workplace
from ..job.run import opened, serve_job
from ..store.store import open_store
from .messages import AskCredentials, Finished, NestedRay, NewCredentials, Request

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 60.0
_END_SECONDS = 60.0  # for what is kept to be handed on, once the supervisor is gone
_ENVIRON = (
    "PYTHONPATH",
    "PATH",
    "PYTHONUNBUFFERED",
    "RAY_ADDRESS",
    "RAY_RUNTIME_ENV_HOOK",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV",
    "RAY_S3_NODE_ID",
    "RAY_S3_WORKING_DIR",
    "RAY_S3_CHOSEN",
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
    if sys.path[:1] == [working_directory()]:  # put there by `python -m`, and no place of the user's
        del sys.path[0]
    with contextlib.ExitStack() as stack:
        prepared = False
        before, worn = Before(), False
        while not worn and (request := line.requests.get()) is not None:
            _take_over(request.environ)
            store, inherited = opened(request.store, request.private)
            renew = line.fresh_credentials if request.renewable else None
            receipt: Receipt | None
            try:
                if not prepared:
                    stack.enter_context(workplace(bundle, open_store(store, renew), _working_dir()))
                    prepared = True
                receipt = serve_job(
                    request.verb, request.func, request.job, store, renew, request.node, inherited
                )
            except (MissingObjectError, CorruptObjectError) as exc:  # of the code: a job's are in its receipt
                failure = None if exc.digests else failure_of(exc)
                receipt = Receipt(missing=exc.digests, failure=failure, node=request.node)
            except BaseException as exc:
                receipt = Receipt(failure=failure_of(of_disk(exc)), node=request.node)
            _leave_ray()
            worn = before.is_left()
            line.send(Finished(pickle.dumps(receipt), worn))


def nested_ray_begins() -> Requirements | None:
    """Let this process's Ray worker lend its CPUs; returns what the jobs' packages are."""
    if _line is not None:
        _line.send(NestedRay())
    return _requirements


class _Line:
    """The pipe to the supervisor. Its end ends this process, whatever runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._answers: queue.Queue[NewCredentials] = queue.Queue()
        self.requests: queue.Queue[Request | None] = queue.Queue()
        self.idle = True
        self.first = connection.recv_bytes()
        threading.Thread(target=self._listen, name="ray-s3-line", daemon=True).start()

    def send(self, message: Finished | NestedRay | AskCredentials) -> None:
        with self._lock:
            if isinstance(message, Finished):
                self.idle = True
            self._connection.send_bytes(pickle.dumps(message))

    def fresh_credentials(self) -> Credentials | None:
        """The newest ones; None where the driver has none, or does not answer in time."""
        with self._asking:
            while not self._answers.empty():  # of a question that had been given up
                self._answers.get()
            self.send(AskCredentials())
            try:
                answer = self._answers.get(timeout=_ANSWER_SECONDS)
            except queue.Empty:
                answer = NewCredentials(None, f"no answer within {_ANSWER_SECONDS:.0f} s")
            if answer.problem:
                log.warning("The driver could not be asked for new credentials: %s", answer.problem)
            return answer.credentials

    def _listen(self) -> None:
        with contextlib.suppress(Exception):  # the supervisor is gone, or nothing that it says can be read
            while True:
                message = pickle.loads(self._connection.recv_bytes())
                if isinstance(message, NewCredentials):
                    self._answers.put(message)
                else:
                    self.idle = False
                    self.requests.put(message)
        if self.idle:
            self.requests.put(None)
            time.sleep(_END_SECONDS)
        # nobody waits for the job any more: with it goes all that it has started
        kill_descendants(os.getpid())
        os.killpg(0, signal.SIGKILL)


def _take_over(environ: Mapping[str, str]) -> None:
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
