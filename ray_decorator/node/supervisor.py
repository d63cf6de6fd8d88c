"""On a node that is not the driver's machine: a runner is kept for this Ray worker, and given its jobs.

    Ray worker (the cluster's own Python)            runner (a Python with the driver's packages)
      serve ── environment, once a node
            ── start ─────────────────────────────▶  runner.main
            ── request ───────────────────────────▶  code, then the job, as at home
            ◀─ "credentials"?  "nested"?  receipt ──

Standard library only, but for ray itself: it runs in the cluster's own environment. Both ends die
together: the runner at the end of its pipe, the Ray worker where its runner crashed, so that Ray tells the
driver, and tries again if it was told to.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..core.directories import node_root
from ..core.errors import PackagesError
from ..core.model import Bundle, Failure, Job, Receipt
from ..environment import build
from ..job import fresh_credentials

_TICK = 0.2  # seconds; Ray cancels by an exception in this thread, which no system call notices
_KEPT = "_ray_s3_runner"


def serve(bundle: bytes, request: tuple[Any, ...], broker: Any, node: str) -> bytes:
    """Have a runner serve the request (see worker.serve_job); the pickled Receipt.

    Never returns where the runner crashed.
    """
    try:
        runner = _runner(bundle)
    except PackagesError as exc:
        failure = Failure(pickle.dumps(exc), str(exc), "")
        return pickle.dumps(Receipt(failure=failure, fatal=True, node=node))
    return runner.call((*request, dict(os.environ), node, broker is not None), broker)


def _runner(bundle: bytes) -> Runner:
    """This Ray worker's runner: the one it has, if that was made for the same bundle."""
    digest = hashlib.sha256(bundle).hexdigest()
    kept: Runner | None = getattr(sys, _KEPT, None)
    if kept is not None and kept.digest == digest and kept.alive():
        return kept
    if kept is not None:
        kept.stop()
    made: Bundle = pickle.loads(bundle)
    python = build.interpreter(made.requirements, Path(node_root()))
    runner = Runner(python, bundle, digest)
    setattr(sys, _KEPT, runner)
    return runner


class Runner:
    """A process that runs jobs, one after another."""

    def __init__(self, python: str, bundle: bytes, digest: str) -> None:
        ours, theirs = socket.socketpair()
        self.digest = digest
        source = str(Path(__file__).resolve().parent.parent.parent)
        environ = {**os.environ, "PYTHONPATH": _joined(source, "PYTHONPATH")}
        environ["PATH"] = _joined(os.path.dirname(python), "PATH")
        self._process = subprocess.Popen(
            [python, "-m", "ray_decorator.node.guard", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**environ, **_ray_environ()},
            start_new_session=True,  # so that it can be killed with all that a job has started
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._connection.send_bytes(bundle)

    def alive(self) -> bool:
        """Whether it can take another job."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Let it end by itself, with what it keeps handed on."""
        self._connection.close()

    def call(self, request: tuple[Any, ...], broker: Any) -> bytes:
        """Hand over a request, wait for its receipt; a KeyboardInterrupt (Ray's cancel) kills the runner."""
        exchange = _Exchange(self._connection, broker)
        try:
            self._connection.send_bytes(pickle.dumps(request))
            exchange.start()
            while not exchange.done.wait(_TICK):
                if exchange.nested.is_set():
                    exchange.nested.clear()
                    _lend_cpus(exchange.done)
        except BrokenPipeError:
            pass
        except BaseException:
            self._kill()
            _clear(request)
            raise
        if exchange.receipt is None:
            self._crashed()
        return exchange.receipt or b""

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left of its group
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _crashed(self) -> None:
        code = self._process.wait()
        self._kill()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        print(f"ray-s3: the job's process {how}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(1)


class _Exchange(threading.Thread):
    """What a runner says while it works on one request."""

    def __init__(self, connection: Connection, broker: Any) -> None:
        super().__init__(name="ray-s3-exchange", daemon=True)
        self.receipt: bytes | None = None
        self.done = threading.Event()
        self.nested = threading.Event()
        self._connection = connection
        self._broker = broker

    def run(self) -> None:
        try:
            while self.receipt is None:
                kind, data = pickle.loads(self._connection.recv_bytes())
                if kind == "credentials":
                    fresh = fresh_credentials.ask(self._broker) if self._broker is not None else None
                    self._connection.send_bytes(pickle.dumps(("credentials", fresh)))
                elif kind == "nested":
                    self.nested.set()
                else:
                    self.receipt = data
        except (EOFError, OSError):  # the runner is gone
            pass
        finally:
            self.done.set()


def _lend_cpus(done: threading.Event) -> None:
    """Wait for ``done`` by Ray's own means: others have this task's CPUs meanwhile.

    A runner whose job uses Ray is another driver to Ray. Where all CPUs belong to such jobs, their tasks
    would wait for ever.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def wait_for(path: str) -> None:
        import fcntl

        with open(path) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    with tempfile.NamedTemporaryFile(prefix="ray-s3-") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiter = ray.remote(wait_for).options(
            num_cpus=0, max_retries=0, scheduling_strategy=here, name="ray-s3: waits for a nested Ray"
        )
        reference = waiter.remote(held.name)

        def release() -> None:
            done.wait()
            with contextlib.suppress(ValueError):  # closed, and so released, already
                fcntl.flock(held, fcntl.LOCK_UN)

        threading.Thread(target=release, name="ray-s3-release", daemon=True).start()
        ray.wait([reference], fetch_local=False)
        done.wait()


def _clear(request: tuple[Any, ...]) -> None:
    """Remove what a cancelled job leaves: nobody will ask for it."""
    job: Job = pickle.loads(request[2])
    shutil.rmtree(Path(node_root(), "jobs", job.id), ignore_errors=True)


def _joined(first: str, name: str) -> str:
    given = os.environ.get(name)
    return f"{first}{os.pathsep}{given}" if given else first


def _ray_environ() -> dict[str, str]:
    """What makes `ray.init()` in a job join this very cluster."""
    import ray

    here = ray.get_runtime_context()
    users = {"RAY_S3_WORKING_DIR": os.getcwd()} if here.runtime_env.get("working_dir") else {}
    return {
        **users,
        "RAY_ADDRESS": here.gcs_address,
        "RAY_S3_NODE_ID": here.get_node_id(),
        "RAY_RUNTIME_ENV_HOOK": "ray_decorator.node.nested_ray.ray_begins",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
