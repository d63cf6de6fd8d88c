"""A Ray cluster that shares nothing with the driver but the network: the test bed of everything remote.

    with cluster_bed.start(workers=2) as bed:
        subprocess.run([…], env={**os.environ, **bed.environment(), "RAY_ADDRESS": bed.address})

Each node is a ``ray start --block`` from another virtual environment, which holds ``ray[default,client]``
(and uv) alone, with an empty HOME, a TMPDIR and a working directory of its own, and no variable of the
driver's but those that package registries need. Where that is allowed (root on Linux), the workers run in
mount namespaces where the driver's home, temp directories, virtual environment and checkout are not there,
with host names and boot ids of their own.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import hashlib
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import cluster_node
import lasting
import pytest
import warm_python
from ray_fixtures import LESS_WORK
from servers import free_port

REPO = Path(__file__).resolve().parents[2]
_KEPT = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
RAY = os.environ.get("RAY_S3_TEST_RAY") or version("ray")
"""The version of Ray that nodes, and the drivers of `far_project`, have: this environment's unless told.

What setup.cfg admits is what this was run with, for its oldest version and for the newest:

    RAY_S3_TEST_RAY=2.10.0 pytest tests/clusters/test_far_cluster.py \\
        -k "as_at_home or ray_itself"
"""
_START_SECONDS = 180.0
_NODE_ARGUMENTS = (
    "--block", "--disable-usage-stats", "--object-store-memory=100000000", "--log-color=false",
)  # fmt: skip
_HEAD_IP = "127.0.0.2"  # 127.0.0.1 is what Ray replaces by the machine's outer address


@dataclass(frozen=True)
class Node:
    """One node. ``directory`` holds all that is its own: ``ray/`` (Ray's temp directory, with its logs),
    ``tmp/`` (its TMPDIR), ``home/``, ``cwd/`` and ``output.txt``. ``pid`` is its oldest process.

    ``hostname`` is what its tasks see: its name where it is isolated, else this machine's.
    """

    name: str
    directory: Path
    hostname: str
    isolated: bool
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def tmp(self) -> Path:
        return self.directory / "tmp"

    def processes(self) -> dict[int, str]:
        """Its processes, by pid, and their command lines; `raylet` and `gcs_server` are among them."""
        return processes_of(self.pid)

    def kill_process(self, program: str) -> None:
        """SIGKILL its processes of that program, such as ``raylet``, and leave the rest to Ray."""
        kill_program(self.pid, program)

    def kill(self) -> None:
        """SIGKILL all of its processes, as where a machine loses power; returns when they are gone."""
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()

    def output(self) -> str:
        return (self.directory / "output.txt").read_text()


@dataclass(frozen=True)
class Driver:
    """A driver that has ended: its exit code, what it printed, and how long it took, in seconds."""

    code: int
    out: str
    err: str
    seconds: float


class Bed:
    """A running cluster: a head without CPUs, so that jobs go to the workers, and the workers."""

    def __init__(
        self,
        directory: Path,
        venv: Path,
        token: str | None,
        isolated: bool,
        all_of_it: bool,
        node_types: Mapping[str, Mapping[str, float]],
    ) -> None:
        self.directory = directory
        self.venv = venv
        self.token = token
        self._isolated = isolated
        self._scales = bool(node_types)
        self.nodes: list[Node] = []
        port, client_port = free_port(), free_port()
        self.address = f"{_HEAD_IP}:{port}"
        self.client_address = f"ray://{_HEAD_IP}:{client_port}"
        self.head = self._spawn(
            "head",
            [
                "--head", f"--port={port}", f"--ray-client-server-port={client_port}", "--num-cpus=0",
                "--include-dashboard=false", f"--dashboard-port={free_port()}",
                *self._autoscaling(node_types),
            ],
            isolated=isolated and all_of_it,
        )  # fmt: skip
        with self._stopped_otherwise():
            self._await(self.head, f"gcs at {self.address}", lambda: _listens(port))

    def begin(self, workers: int, cpus: float, resources: Mapping[str, float] | None) -> None:
        """Have so many workers join at once, and return when all of it answers."""
        with self._stopped_otherwise():
            made = [self.add_worker(cpus=cpus, resources=resources, wait=False) for _ in range(workers)]
            for node in (self.head, *made):
                self.await_joined(node)
            self.await_client()

    @contextmanager
    def _stopped_otherwise(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def environment(self) -> dict[str, str]:
        """What a driver sets to be let in: the token, or that there is none."""
        if self.token is None:
            return {"RAY_AUTH_MODE": "disabled"}
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    @property
    def workers(self) -> list[Node]:
        return [node for node in self.nodes if node is not self.head]

    def add_worker(
        self, *, cpus: float = 1, resources: Mapping[str, float] | None = None, wait: bool = True
    ) -> Node:
        """One more worker; with ``wait``, returns once it has joined."""
        options = [f"--address={self.address}", f"--num-cpus={cpus:g}"]
        if resources:
            options.append(f"--resources={json.dumps(dict(resources))}")
        node = self._spawn(f"worker{len(self.nodes)}", options, isolated=self._isolated)
        if wait:
            self.await_joined(node)
        return node

    def await_joined(self, node: Node) -> None:
        self._await(node, "Ray runtime started", lambda: "Ray runtime started" in node.output())

    def await_client(self) -> None:
        """Return once the Ray Client server takes connections."""
        port = int(self.client_address.rpartition(":")[2])
        self._await(self.head, f"Ray Client at {self.client_address}", lambda: _listens(port))

    def logs(self) -> Iterator[Path]:
        """Every regular file that the nodes keep: logs, caches, temporaries, homes."""
        for node in self.nodes:
            for root, _, names in os.walk(node.directory):
                yield from (
                    path for name in names if (path := Path(root, name)).is_file() and not path.is_symlink()
                )

    def stop(self) -> None:
        for node in reversed(self.nodes):
            if node.process.stdin:
                node.process.stdin.close()
        for node in self.nodes:
            node.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _autoscaling(self, node_types: Mapping[str, Mapping[str, float]]) -> list[str]:
        """Ray's fake cloud, which starts nodes on this machine, with these types of them."""
        if not node_types:
            return []
        offered = {
            name: {"resources": dict(resources), "node_config": {}, "min_workers": 0, "max_workers": 1}
            for name, resources in node_types.items()
        }
        offered["ray.head.default"] = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
        unused: dict[str, object] = {
            **{f"{kind}_commands": [] for kind in ("initialization", "setup", "head_setup", "worker_setup")},
            **{f"{kind}_start_ray_commands": [] for kind in ("head", "worker")},
            **{key: {} for key in ("docker", "file_mounts")},
            **{key: [] for key in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
            "auth": {"ssh_user": "nobody"},
            "file_mounts_sync_continuously": False,
        }
        config = {
            "cluster_name": "fake",
            "max_workers": 4,
            "idle_timeout_minutes": 5,
            "upscaling_speed": 20,
            "provider": {
                "type": "fake_multinode",
                "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
                "gcs_address": self.address,
            },
            "available_node_types": offered,
            "head_node_type": "ray.head.default",
            **unused,
        }
        (self.directory / "autoscaling.json").write_text(json.dumps(config))
        return [f"--autoscaling-config={self.directory / 'autoscaling.json'}"]

    def _spawn(self, name: str, options: list[str], *, isolated: bool) -> Node:
        directory = self.directory / name
        for part in ("ray", "tmp", "home", "cwd"):
            (directory / part).mkdir(parents=True)
        ports = [
            f"--{kind}-port={free_port()}"
            for kind in ("dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent")
        ]
        command = [
            str(self.venv / "bin" / "ray"), "start", *_NODE_ARGUMENTS, *options, *ports,
            f"--temp-dir={directory / 'ray'}", f"--node-ip-address=127.0.0.{len(self.nodes) + 2}",
        ]  # fmt: skip
        namespace = {
            "hide": _hidden() if isolated else [],
            "show": [str(path) for path in (directory, self.venv, _base_python(self.venv))],
            "hostname": name,
        }
        with open(directory / "output.txt", "wb") as output:
            process = subprocess.Popen(
                [sys.executable, cluster_node.__file__, json.dumps(namespace), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(self.venv, directory, self.environment()) | self._fake_cloud(),
                cwd=directory / "cwd",
                start_new_session=True,  # Ctrl-C is the driver's
            )
        node = Node(name, directory, name if isolated else os.uname().nodename, isolated, process)
        self.nodes.append(node)
        return node

    def _fake_cloud(self) -> dict[str, str]:
        return {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"} if self._scales else {}

    def _await(self, node: Node, what: str, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not happened():
            if node.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{node.name} does not start; waited for: {what}\n{node.output()}")
            time.sleep(0.05)


@contextmanager
def start(
    directory: Path | None = None,
    *,
    workers: int = 2,
    cpus: float = 1,
    python: str = sys.executable,
    ray: str = "",
    uv: bool = True,
    token: bool = False,
    isolated: bool | str | None = None,
    resources: Mapping[str, float] | None = None,
    node_types: Mapping[str, Mapping[str, float]] | None = None,
) -> Iterator[Bed]:
    """A cluster for as long as the block lasts: a head without CPUs, and workers with ``cpus`` each.

    ``directory`` is created, kept short (Ray's socket paths below it end at 107 characters), and removed.
    ``python``, ``ray`` (a version; the driver's unless told) and ``uv`` say what its environment holds.
    ``isolated``: the workers do not see the driver's files; None, where the machine allows it; True, skip the
    test elsewhere; ``"all"``, the head neither, which then only ``ray://`` reaches. ``node_types``, with the
    resources of each, are what an autoscaler can add, on this machine.
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("the nodes of a cluster run on Linux")
    if isolated in (True, "all") and not can_isolate():
        pytest.skip("needs root and mount namespaces")
    venv = bare_venv(python, ray or RAY, uv)
    home = _own_directory("bed") if directory is None else directory
    token_text = secrets.token_hex(32) if token else None
    hides = isolated is not False and can_isolate()

    def begun() -> Bed:
        home.mkdir(exist_ok=True)
        made = Bed(home, venv, token_text, hides, isolated == "all", node_types or {})
        made.begin(workers, cpus, resources)
        return made

    try:
        bed = begun()
    except RuntimeError as exc:  # Ray's own processes miss one another now and then
        print(f"A cluster is started once more, after: {exc}", file=sys.stderr)
        bed = begun()
    try:
        yield bed
    finally:
        bed.stop()


def drive(code: str, *arguments: str, env: Mapping[str, str], cwd: Path, seconds: float = 90) -> Driver:
    """Run ``code`` in a process of this interpreter, as a user's driver; ``env`` is added to ours."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH_")} | dict(env)
    since = time.monotonic()
    done = subprocess.run(
        [*warm_python.starter(environment), "-c", code, *arguments],
        env=environment,
        cwd=cwd,
        timeout=seconds,
        capture_output=True,
        text=True,
    )
    return Driver(done.returncode, done.stdout, done.stderr, time.monotonic() - since)


@functools.cache
def bare_venv(python: str = sys.executable, ray: str = "", uv: bool = True) -> Path:
    """An environment of its own with ``ray[default,client]`` (and uv) alone, hard-linked from uv's cache.

    Made once a session for each ``python`` (a path or ``3.12``), Ray version and ``uv``.
    """
    packages = [f"ray[default,client]=={ray or version('ray')}", *(["uv"] if uv else [])]
    return made_venv("bare", python, [packages], "import ray.scripts.scripts, ray.dashboard.agent")


def made_venv(name: str, python: str, installs: Sequence[Sequence[str]], first: str = "") -> Path:
    """A virtual environment after ``uv pip install`` of each of these, which all processes of the session share.

    ``first`` is run there: what it imports is not compiled by many processes at once then.
    """
    asked = hashlib.md5(repr((python, installs)).encode()).hexdigest()
    directory = _venvs() / f"{name}-{asked[:8]}"
    made = directory / "venv"
    environment = {k: v for k, v in os.environ.items() if k != "XDG_CACHE_HOME"}  # uv's cache is the user's
    directory.mkdir(exist_ok=True)
    with open(directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "complete").exists():
            subprocess.run([_uv(), "venv", "--quiet", "--python", python, str(made)], check=True)
            command = [_uv(), "pip", "install", "--quiet", "--python", str(made / "bin" / "python")]
            for arguments in installs:
                subprocess.run([*command, *arguments], check=True, env=environment)
            _share_bytecode(made)
            if first:
                command = [str(made / "bin" / "python"), "-c", first]
                subprocess.run(command, check=True, env=environment, cwd="/")
            (directory / "complete").touch()
    return made


def _share_bytecode(venv: Path) -> None:
    """Link what this environment has compiled of the very files that uv has linked there, from its cache.

    To compile Ray and what it imports takes three seconds of CPU time.
    """
    here = Path(sysconfig.get_path("purelib"))
    there = venv / here.relative_to(sys.prefix)
    for source in there.rglob("*.py") if there.is_dir() else ():
        mine = here / source.relative_to(there)
        compiled = Path(importlib.util.cache_from_source(str(mine)))
        if compiled.exists() and mine.exists() and mine.samefile(source):
            target = source.parent / "__pycache__" / compiled.name
            target.parent.mkdir(exist_ok=True)
            target.hardlink_to(compiled)


def processes_of(pid: int) -> dict[int, str]:
    """All processes below one, and their command lines."""
    found = {}
    for child in cluster_node.descendants(pid):
        with suppress(OSError):  # it has ended meanwhile
            found[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def kill_program(pid: int, program: str, number: signal.Signals = signal.SIGKILL) -> None:
    """Send the processes below one that run ``program`` this signal; there has to be one."""
    commands = processes_of(pid)
    chosen = [p for p, command in commands.items() if os.path.basename(command.split(" ")[0]) == program]
    if not chosen:
        raise LookupError(f"no {program} among {sorted(commands.values())}")
    for one in chosen:
        os.kill(one, number)


@functools.cache
def can_isolate() -> bool:
    """Whether this machine lets us make mount namespaces."""
    code = "import cluster_node; cluster_node.isolate(['/tmp'], [], 'other')"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True)
    return done.returncode == 0


@pytest.fixture(scope="session", name="bare_venv")
def bare_venv_fixture() -> Path:
    """A virtual environment that holds ray and uv alone."""
    return bare_venv(sys.executable, RAY, True)


@pytest.fixture(scope="module")
def bed() -> Bed:
    """One cluster for all tests in a row: it asks for a token, and has two workers with a CPU each, isolated
    where possible.
    """
    running: Bed = lasting.get("bed", lambda: start(token=True))
    return running


@pytest.fixture
def doomed(bed: Bed) -> Iterator[Bed]:
    """The same cluster for a test that breaks it. Such tests come last; who asks for one then gets another."""
    yield bed
    lasting.end("bed")


@pytest.fixture(scope="module")
def scaling() -> Bed:
    """A head alone that asks for no token, for all tests in a row; an autoscaler can add nodes of these types.

    What one of the tests adds stays.
    """
    types = {"gpu_worker": {"CPU": 2, "GPU": 1}, "big_worker": {"CPU": 8, "lathe": 2}}
    running: Bed = lasting.get("scaling", lambda: start(workers=0, node_types=types))
    return running


@functools.cache
def _venvs() -> Path:
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID", secrets.token_hex(8))[:8]
    directory = Path("/tmp", f"bedenv{session}")
    _clear_dead("bedenv")
    handle = -1
    while handle < 0 or not _is_open(handle, directory / ".lock"):  # another process may just remove it
        directory.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(directory / ".lock", os.O_CREAT | os.O_RDWR)
        fcntl.flock(handle, fcntl.LOCK_SH)

    def leave() -> None:  # the last one removes it
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)

    atexit.register(leave)
    return directory


def _own_directory(prefix: str) -> Path:
    """A directory that is locked for as long as this process lives; those of killed sessions are removed."""
    _clear_dead(prefix)
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    handle = os.open(directory / ".lock", os.O_CREAT | os.O_RDWR)  # closed with the process
    fcntl.flock(handle, fcntl.LOCK_EX)
    return directory


def _is_open(handle: int, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(handle), path.stat())


def _clear_dead(prefix: str) -> None:
    for lock in Path("/tmp").glob(f"{prefix}*/.lock"):
        with suppress(OSError), open(lock) as held:  # a living session holds its lock
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)


def _uv() -> str:
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise RuntimeError("The test bed needs uv: pip install uv")
    return found


def _base_python(venv: Path) -> Path:
    """The installation that the environment's interpreter links to."""
    return (venv / "bin" / "python").resolve().parent.parent


def _hidden() -> list[str]:
    """The driver's directories, those inside of others left out."""
    places = {"/tmp", "/var/tmp", tempfile.gettempdir(), str(Path.home()), str(REPO), sys.prefix}
    real = sorted({os.path.realpath(place) for place in places if os.path.isdir(place)})
    return [p for p in real if p not in ("/", "/usr") and not any(p.startswith(f"{o}/") for o in real)]


def _environment(venv: Path, directory: Path, token: Mapping[str, str]) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k.startswith(_KEPT) or k.lower() in _PROXIES}
    return {
        **kept,
        **token,
        **LESS_WORK,
        # Ray Client's proxy forks a server for each client, and some die of gRPC's fork handlers (3 of 32 where four
        # clients came at once; with this none of 80). A program that calls `ray.init` itself fails of that.
        "GRPC_ENABLE_FORK_SUPPORT": "0",
        "PATH": f"{venv / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(directory / "home"),
        "TMPDIR": str(directory / "tmp"),
        "LANG": "C.UTF-8",
    }


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection((_HEAD_IP, port), 1):
        return True
    return False
