"""On a node that is not the driver's machine: a runner is kept for this Ray worker, and given its jobs.

    Ray worker (the cluster's own Python)            runner (a Python with the driver's packages)
      serve ── environment, once a node
            ── start ─────────────────────────────▶  runner.main
            ── Request ───────────────────────────▶  code, then the job, as at home
            ◀─ AskCredentials?  NestedRay? Finished  (messages.py)

Standard library only, but for ray itself: it runs in the cluster's own environment. Both ends die
together: the runner at the end of its pipe, the Ray worker where its runner crashed, so that Ray tells the
driver. A runner that lives on while nothing can be read from it any more
is killed. Nothing here waits without a bound but for the job itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..core.errors import ClusterError, InputError, JobError, PackagesError, RayS3Error, ending, text_of
from ..core.machine.directories import node_directory
from ..core.values.bundles import Bundle
from ..core.values.model import Failure, Receipt
from ..environment import build
from ..job.aws import fresh_credentials
from ..job.process.ending import note
from ..job.process.leftovers import kill_descendants
from .lending import lend_cpus
from .messages import AskCredentials, Finished, NestedRay, NewCredentials, Request

_TICK = 0.2  # seconds; Ray cancels by an exception in this thread, which no system call notices
_END_SECONDS = 10.0  # for a process that has closed its pipe, or was killed, to be gone
_STALLED_SECONDS = 60.0  # for more of a message that has begun: a job can write into any pipe of its process
_START_SECONDS = 300.0  # for a Python that has been started to read what it is for
_KEPT = "_ray_s3_runner"


def serve(
    bundle: bytes,
    verb: str,
    func: bytes,
    job: bytes,
    store: bytes,
    private: bytes,
    broker: Any,
    node: str,
) -> bytes:
    """Have a runner do ``verb`` (see job.run.serve_job); the pickled Receipt.

    Never returns where the runner crashed.
    """
    try:
        runner = _runner(bundle)
    except PackagesError as exc:
        return _failed(exc, node, fatal=True)
    except InputError as exc:  # of this node's directory
        return _failed(ClusterError(f"Node {node}: {exc}"), node, fatal=True)
    except JobError as exc:
        return _failed(exc, node)
    environ = {**os.environ, "RAY_S3_PLACEMENT_GROUP": _placement_group()}
    request = Request(verb, func, job, store, private, environ, node, renewable=broker is not None)
    return runner.call(request, broker)


def _placement_group() -> str:
    """The one that this task is in, for node.nested_ray; "" where it is in none."""
    import ray

    here = ray.get_runtime_context()
    group = here.get_placement_group_id()
    captures = " captures" if here.should_capture_child_tasks_in_placement_group else ""
    return f"{group}{captures}" if group else ""


def _failed(error: RayS3Error, node: str, *, fatal: bool = False) -> bytes:
    failure = Failure(pickle.dumps(error), f"{type(error).__name__}: {error}", "")
    return pickle.dumps(Receipt(failure=failure, fatal=fatal, node=node))


def _runner(bundle: bytes) -> Runner:
    """This Ray worker's runner: the one it has, if that was made for the same bundle."""
    digest = hashlib.sha256(bundle).hexdigest()
    kept: Runner | None = getattr(sys, _KEPT, None)
    if kept is not None and kept.digest == digest and kept.alive():
        return kept
    if kept is not None:
        kept.stop()
    made: Bundle = pickle.loads(bundle)
    python = build.interpreter(made.requirements, node_directory("envs").parent)
    runner = Runner(python, bundle, digest)
    setattr(sys, _KEPT, runner)
    return runner


class Runner:
    """A process that runs jobs, one after another. Raises JobError where it is started, but reads nothing."""

    def __init__(self, python: str, bundle: bytes, digest: str) -> None:
        ours, theirs = socket.socketpair()
        self.digest = digest
        self._worn = False
        source = str(Path(__file__).resolve().parent.parent.parent)
        environ = {**os.environ, "PYTHONPATH": _joined(source, "PYTHONPATH")}
        environ["PATH"] = _joined(os.path.dirname(python), "PATH")
        environ["PYTHONUNBUFFERED"] = "1"  # Ray names a line after the job that runs when it is written
        self._process = subprocess.Popen(
            [python, "-m", "ray_decorator.node.guard", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**environ, **_ray_environ()},
            start_new_session=True,  # so that it can be killed with all that a job has started
        )
        theirs.close()
        _bound(ours, socket.SO_RCVTIMEO, _STALLED_SECONDS)
        _bound(ours, socket.SO_SNDTIMEO, _START_SECONDS)
        self._connection = Connection(ours.detach())
        try:
            self._connection.send_bytes(bundle)
        except ConnectionError:  # it has ended already: `call` says how
            pass
        except BlockingIOError as exc:
            self._kill()
            raise JobError(
                f"the job's process was killed: {python} was started, and read nothing for {_START_SECONDS:.0f} s. "
                "See that this Python starts there, and that its disk answers."
            ) from exc

    def alive(self) -> bool:
        """Whether it can take another job."""
        return not self._worn and self._process.poll() is None

    def stop(self) -> None:
        """Let it end by itself, with what it keeps handed on."""
        self._connection.close()

    def call(self, request: Request, broker: Any) -> bytes:
        """Hand over a request, wait for its receipt; a KeyboardInterrupt (Ray's cancel) kills the runner.

        Ends this very process where the runner crashed.
        """
        exchange = _Exchange(self._connection, request, broker)
        exchange.start()
        try:
            while not exchange.done.wait(_TICK):
                if not self.alive():  # what its job has started may keep the pipe open
                    exchange.done.wait(_END_SECONDS)
                    break
                if exchange.nested.is_set():
                    exchange.nested.clear()
                    lend_cpus(exchange.done, self.alive)
        except BaseException:
            self._kill()
            raise
        if exchange.problem is not None:
            self._kill()
            return _failed(JobError(exchange.problem), request.node)
        if exchange.receipt is None:
            self._crashed(pickle.loads(request.job).id)
        if exchange.last:
            self._worn = True
            self.stop()
        return exchange.receipt or b""

    def _kill(self) -> int | None:
        """Its exit code; None where it is not gone even now."""
        kill_descendants(self._process.pid)  # also those in sessions of their own
        with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left of its group
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._code()

    def _code(self) -> int | None:
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def _crashed(self, job_id: str) -> None:
        code = self._code()
        killed = self._kill()  # also what a dead runner's job has started
        if code is None:
            how = "has closed its pipe to the Ray worker, and was killed by it"
        else:
            how = ending(code)
            note(job_id, code)
        if killed is None:
            how += f"; process {self._process.pid} does not end even so"
        print(f"ray-s3: the job's process {how}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(1)


class _Exchange(threading.Thread):
    """Tells a runner one request, and hears what it says while it works on it.

    Once ``done``, ``receipt`` is what came of it, or ``problem`` says what of the runner's could not be
    read or answered; neither where it crashed. ``last``: the runner takes no other request.
    """

    def __init__(self, connection: Connection, request: Request, broker: Any) -> None:
        super().__init__(name="ray-s3-exchange", daemon=True)
        self.receipt: bytes | None = None
        self.problem: str | None = None
        self.last = False
        self.done = threading.Event()
        self.nested = threading.Event()
        self._connection = connection
        self._request = request
        self._broker = broker

    def run(self) -> None:
        try:
            self._connection.send_bytes(pickle.dumps(self._request))
            while self.receipt is None and (data := self._received()) is not None:
                self._heed(pickle.loads(data))
        except ConnectionError:  # the runner is gone
            pass
        except Exception as exc:  # whatever a job has put into the pipe, say
            self.problem = (
                f"the job's process was killed: what it sent to the Ray worker could not be read "
                f"({type(exc).__name__}: {text_of(exc)}). See that the job leaves file descriptors alone "
                "that it has not opened itself."
            )
        finally:
            self.done.set()

    def _received(self) -> bytes | None:
        try:
            self._connection.poll(None)
            return self._connection.recv_bytes()
        except BlockingIOError:
            raise TimeoutError(f"nothing more of a message for {_STALLED_SECONDS:.0f} s") from None
        except (EOFError, OSError):  # the runner is gone
            return None

    def _heed(self, message: Any) -> None:
        match message:
            case Finished(receipt, last):
                self.receipt, self.last = receipt, last
            case NestedRay():
                self.nested.set()
            case AskCredentials():
                self._connection.send_bytes(pickle.dumps(_newest(self._broker)))
            case _:
                raise TypeError(f"unexpected {type(message).__name__}")


def _bound(end: socket.socket, option: int, seconds: float) -> None:
    """For ``seconds``, at most, this end waits to read or write the next bytes: BlockingIOError then."""
    end.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", int(seconds), 0))


def _newest(broker: Any) -> NewCredentials:
    if broker is None:
        return NewCredentials(None)
    try:
        return NewCredentials(fresh_credentials.ask(broker))
    except Exception as exc:  # Ray's, or the connection's: the runner goes on with those that it has
        return NewCredentials(None, f"{type(exc).__name__}: {text_of(exc)}")


def _joined(first: str, name: str) -> str:
    given = os.environ.get(name)
    return f"{first}{os.pathsep}{given}" if given else first


def _ray_environ() -> dict[str, str]:
    """What makes `ray.init()` in a job join this very cluster."""
    import ray

    here = ray.get_runtime_context()
    users = {"RAY_S3_WORKING_DIR": os.getcwd()} if here.runtime_env.get("working_dir") else {}
    chosen = list(here.runtime_env.get("env_vars") or {})
    return {
        **users,
        "RAY_S3_CHOSEN": " ".join(chosen),
        "RAY_ADDRESS": here.gcs_address,
        "RAY_S3_NODE_ID": here.get_node_id(),
        "RAY_RUNTIME_ENV_HOOK": "ray_decorator.node.nested_ray.ray_begins",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
