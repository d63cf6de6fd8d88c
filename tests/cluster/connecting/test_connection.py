"""The way to Ray on real clusters: tokens, versions and ports that do not fit end in one clear error."""

from __future__ import annotations

import glob
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cluster_bed
import grpc
import pytest
from ray.core.generated import ray_client_pb2, ray_client_pb2_grpc
from ray.core.generated.ray_client_pb2_grpc import (
    RayletDataStreamerServicer,
    RayletDriverServicer,
    RayletLogStreamerServicer,
)

from ray_decorator.cluster import ray_api
from ray_decorator.cluster.connecting import connection
from ray_decorator.cluster.connecting.connection import Connection, is_connected
from ray_decorator.core.errors import ClusterError, InputError
from ray_decorator.core.options.settings import Options

_CONNECT = """
import json, sys
from ray_decorator.cluster.connecting.connection import Connection
from ray_decorator.core.errors import ClusterError
from ray_decorator.core.options.settings import Options

kwargs = json.loads(sys.argv[2])
try:
    options = Options(ray_address=sys.argv[1], s3_base_path="s3://bucket/x", ray_init_kwargs=kwargs)
    Connection(options.resolve()).wait()
except ClusterError as exc:
    print(exc)
    sys.exit()
import ray

@ray.remote(num_cpus=0)
def variable():
    import os
    return os.environ.get("THE_VARIABLE")

print("connected", ray.get(variable.remote()))
"""
pytestmark = pytest.mark.client

_WAYS = ("address", "client_address")
messages: Any = ray_client_pb2
_OTHER = "3.12" if sys.version_info[:2] != (3, 12) else "3.11"


def _connect(address: str, cwd: Path, kwargs: str = "{}", **env: str) -> str:
    # no ~/.ray/auth_token of this machine's, and nothing of what a cluster's autoscaler says now and then
    home = {"HOME": str(cwd), "RAY_SCHEDULER_EVENTS": "0"}
    done = cluster_bed.drive(_CONNECT, address, kwargs, env={**home, **env}, cwd=cwd)
    assert done.code == 0, done.err
    assert done.seconds < 60
    return done.out.strip()


def test_the_right_token_lets_in(bed: cluster_bed.Bed, tmp_path: Path) -> None:
    assert _connect(bed.address, tmp_path, **bed.environment()) == "connected None"
    (tmp_path / "secret").write_text(str(bed.token))
    path = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "secret")}
    assert _connect(bed.client_address, tmp_path, **path) == "connected None"


@pytest.mark.parametrize(
    ("way", "env"),
    [
        ("address", {}),
        ("client_address", {"RAY_AUTH_MODE": "disabled"}),
        ("address", {"RAY_AUTH_TOKEN": "ab" * 32}),
    ],
)
def test_no_token_where_one_is_asked_for(
    bed: cluster_bed.Bed, way: str, env: dict[str, str], tmp_path: Path
) -> None:
    said = _connect(getattr(bed, way), tmp_path, **env)
    assert said == (
        f"Ray at {getattr(bed, way)} asks for a token, and this process sends none. Set "
        "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH, a file) to the cluster's token."
    )


@pytest.mark.parametrize("way", _WAYS)
def test_a_wrong_token(bed: cluster_bed.Bed, way: str, tmp_path: Path) -> None:
    said = _connect(getattr(bed, way), tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="ab" * 32)
    assert (
        "refuses this process's token (from RAY_AUTH_TOKEN), which is not its own. Set RAY_AUTH_MODE" in said
    )
    assert "abab" not in said


@pytest.mark.parametrize("way", _WAYS)
def test_token_mode_without_a_token(bed: cluster_bed.Bed, way: str, tmp_path: Path) -> None:
    said = _connect(getattr(bed, way), tmp_path, RAY_AUTH_MODE="token")
    assert (
        "RAY_AUTH_MODE is token, but there is no token. Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN" in said
    )
    assert said.endswith("where the cluster asks for none, set RAY_AUTH_MODE=disabled.")


@pytest.mark.parametrize("way", _WAYS)
def test_a_token_where_none_is_asked_for_and_the_users_runtime_env(
    scaling: cluster_bed.Bed, way: str, tmp_path: Path
) -> None:
    kwargs = json.dumps({"runtime_env": {"env_vars": {"THE_VARIABLE": "of the user"}}})
    said = _connect(getattr(scaling, way), tmp_path, kwargs, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="ab" * 32)
    assert said == "connected of the user"


def test_a_port_that_is_another_service_of_rays(bed: cluster_bed.Bed, tmp_path: Path) -> None:
    gcs, client = bed.address, bed.client_address.removeprefix("ray://")
    said = _connect(client, tmp_path, **bed.environment())
    assert f"What listens at ray_address {client} is not a Ray GCS" in said
    said = _connect(f"ray://{gcs}", tmp_path, **bed.environment())
    assert f"What listens at ray_address ray://{gcs} is not a Ray Client server" in said


_FLAKY = (
    """
import json, sys, ray
sys.argv[2] = "{}"
init, asked = ray.init, []

def flaky(*args, **kwargs):
    asked.append(kwargs["address"])
    if len(asked) == 1:
        raise ConnectionAbortedError("Initialization failure from server")
    return init(*args, **kwargs)

ray.init = flaky
"""
    + _CONNECT
)


def test_a_connection_to_ray_client_that_fails_is_made_once_more(
    bed: cluster_bed.Bed, tmp_path: Path
) -> None:
    # such a failure comes once in 25 times: no test can wait for it
    done = cluster_bed.drive(_FLAKY, bed.client_address, "", env=bed.environment(), cwd=tmp_path)
    assert done.out.strip() == "connected None", done.err


class _Refusing(RayletDataStreamerServicer, RayletDriverServicer, RayletLogStreamerServicer):
    """A Ray Client server that starts nothing for its clients, and keeps their streams open, as Ray's does."""

    def __init__(self) -> None:
        self.refused = 0
        self.ended = threading.Event()

    def ClusterInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        return messages.ClusterInfoResponse(json="{}")

    def Datapath(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        self.refused += 1
        no = messages.InitResponse(ok=False, msg="Starting Ray client server failed.")
        yield messages.DataResponse(req_id=next(requests).req_id, init=no)
        self.ended.wait(30)

    def Logstream(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        self.ended.wait(30)
        return iter(())


def test_what_ray_client_refuses_is_asked_for_again_at_once(tmp_path: Path) -> None:
    # its server for a client dies now and then as it starts: no test can wait for it
    server, refusing = grpc.server(ThreadPoolExecutor(20)), _Refusing()
    ray_client_pb2_grpc.add_RayletDriverServicer_to_server(refusing, server)
    ray_client_pb2_grpc.add_RayletDataStreamerServicer_to_server(refusing, server)
    ray_client_pb2_grpc.add_RayletLogStreamerServicer_to_server(refusing, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        done = cluster_bed.drive(_CONNECT, f"ray://{address}", "{}", env={}, cwd=tmp_path)
    finally:
        refusing.ended.set()
        server.stop(None)
    first, second, third = done.out.splitlines()
    assert first == f"Cannot connect to Ray at ray://{address}."
    assert second.endswith("Initialization failure from server: Starting Ray client server failed.")
    assert third.startswith("The head node cannot start a Ray Client server for you")
    assert third.endswith("start the head with GRPC_ENABLE_FORK_SUPPORT=0 in its environment.")
    assert (refusing.refused, done.err) == (4, "")
    assert done.seconds < 25  # the server's streams end after 30


@pytest.fixture(scope="module")
def other_versions() -> Iterator[cluster_bed.Bed]:
    """A cluster with an older Ray, and another Python where this machine has it."""
    found = glob.glob(str(Path.home() / f".pyenv/versions/{_OTHER}.*/bin/python{_OTHER}"))
    named = found[0] if found else shutil.which(f"python{_OTHER}")
    # a name alone may be a version manager's, which has no such Python for this directory or home
    runs = named is not None and subprocess.run([named, "-c", ""], capture_output=True).returncode == 0
    python = named if named is not None and runs else sys.executable
    with cluster_bed.start(workers=0, python=python, ray="2.59.0", isolated=False) as running:
        yield running


@pytest.mark.parametrize("way", _WAYS)
def test_another_ray_and_another_python(way: str, tmp_path: Path, other_versions: cluster_bed.Bed) -> None:
    import ray

    said = _connect(getattr(other_versions, way), tmp_path, **other_versions.environment())
    assert said.startswith(f"Ray at {getattr(other_versions, way)} has Ray 2.59.0 and Python 3.")
    assert f"this process has Ray {ray.__version__} and Python {platform.python_version()}." in said
    assert "`pip install 'ray[client]==2.59.0'` here, or `pip install 'ray[default,client]==2" in said
    if f"Python {_OTHER}" in said:
        mine = ".".join(platform.python_version_tuple()[:2])
        assert f"(`uv venv --python {_OTHER}`), or start the cluster with Python {mine}." in said


def test_a_ray_that_is_being_imported_is_not_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    assert not is_connected()


class _Init:
    """Stands in for `ray.init`: raises each of the errors in turn, and then succeeds."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)
        self.calls: list[dict[str, Any]] = []

    def __call__(self, **arguments: Any) -> None:
        self.calls.append(arguments)
        if self._errors:
            raise self._errors.pop(0)


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., _Init]:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray_api, "_said", set())

    def start(*errors: BaseException, address: str = "local", **kwargs: Any) -> _Init:
        init = _Init(*errors)
        monkeypatch.setattr(ray, "init", init)
        settings = Options(
            ray_address=address, s3_base_path="s3://bucket/x", ray_init_kwargs=kwargs
        ).resolve()
        try:
            Connection(settings).wait()
        except BaseException as exc:
            exc.__dict__["calls"] = init.calls
            raise
        return init

    return start


_TIMED_OUT = Exception("The current node timed out during startup. This\ncould happen because …")


def test_a_private_ray_that_does_not_start_is_tried_once_more(
    connect: Callable[..., _Init], caplog: pytest.LogCaptureFixture
) -> None:
    assert len(connect(_TIMED_OUT).calls) == 2
    (record,) = [record for record in caplog.records if record.name == connection.__name__]
    assert record.getMessage() == (
        "A private Ray did not start (Exception: The current node timed out during startup. This could "
        "happen because …): trying once more"
    )


@pytest.mark.parametrize(
    "error", [_TIMED_OUT, OSError("no space"), KeyError("x"), ValueError("no file"), SystemExit(1)]
)
def test_a_private_ray_that_does_not_start_twice(error: BaseException, connect: Callable[..., _Init]) -> None:
    with pytest.raises(ClusterError) as caught:
        connect(error, error)
    assert len(caught.value.__dict__["calls"]) == 2
    first, second, third = str(caught.value).splitlines()
    assert first == "A private Ray on this machine did not start, in two tries."
    assert second.startswith(f"Ray says: {type(error).__name__}: ")
    assert third.startswith("See that this machine has memory and disk space to spare (`free -h`")
    assert caught.value.__cause__ is error


@pytest.fixture(scope="module")
def some_service() -> Iterator[str]:
    """Where something listens that may be a GCS."""
    server = grpc.server(ThreadPoolExecutor(1))
    answer = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
    service, _, method = ray_api._GCS[0].strip("/").partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: answer}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.mark.parametrize(
    "error", [Exception("odd"), RuntimeError("gone"), ValueError("x"), ImportError("no grpc"), SystemExit(1)]
)
def test_whatever_else_ray_init_raises_is_an_error_of_ours(
    error: BaseException, connect: Callable[..., _Init], some_service: str
) -> None:
    with pytest.raises(ClusterError) as caught:
        connect(error, address=some_service)
    assert len(caught.value.__dict__["calls"]) == 1
    first, second, third = str(caught.value).splitlines()
    assert first.startswith("Cannot connect to Ray at 127.0.0.1:")
    assert second == f"Ray says: {type(error).__name__}: {error}"
    assert third.startswith("Check host and port (the GCS's, 6379 by default)")


def test_arguments_that_ray_init_does_not_take_are_not_tried_twice(connect: Callable[..., _Init]) -> None:
    error = RuntimeError("Unknown keyword argument(s): cpus")
    with pytest.raises(InputError, match=r"^ray_init_kwargs are not accepted by ray.init: Unknown") as caught:
        connect(error, error, cpus=1)
    assert len(caught.value.__dict__["calls"]) == 1


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str] | None], None]:
    """Says where on this machine Rays seem to be; others of the machine are not looked at."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return lambda addresses: monkeypatch.setattr(ray_api, "addresses_here", lambda init_kwargs: addresses)


@pytest.mark.parametrize(("addresses", "asked"), [([], ["local"]), (None, ["auto", "local"])])
def test_without_ray_on_this_machine_auto_starts_a_private_one(
    addresses: list[str] | None,
    asked: list[str],
    here: Callable[[list[str] | None], None],
    connect: Callable[..., _Init],
    caplog: pytest.LogCaptureFixture,
) -> None:
    here(addresses)
    errors = [ConnectionError("none")] if addresses is None else []
    init = connect(*errors, _TIMED_OUT, address="auto")
    assert [call["address"] for call in init.calls] == [*asked, "local"]
    assert "No Ray runs on this machine (ray_address is 'auto'): starting a private one" in caplog.text


def test_of_several_rays_on_this_machine_none_is_taken_unasked(
    here: Callable[[list[str] | None], None], connect: Callable[..., _Init], caplog: pytest.LogCaptureFixture
) -> None:
    here(["10.0.0.1:1", "10.0.0.1:2"])
    assert [call["address"] for call in connect(address="auto").calls] == ["local"]
    assert (
        "Several Rays run on this machine (10.0.0.1:1, 10.0.0.1:2), and `ray start` has noted" in caplog.text
    )
    assert caplog.text.rstrip().endswith("name it: ray_address, or RAY_ADDRESS=10.0.0.1:1")


def test_a_ray_on_this_machine_whose_gcs_has_crashed_is_none(
    here: Callable[[list[str] | None], None], connect: Callable[..., _Init], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"127.0.0.1:{listener.getsockname()[1]}"
    here([gone])
    assert [call["address"] for call in connect(address="auto").calls] == ["local"]
    assert f"(ray_address is 'auto'; nobody answers at {gone}, where one was): starting" in caplog.text


def test_what_half_a_ray_on_this_machine_is_waited_for(
    here: Callable[[list[str] | None], None], connect: Callable[..., _Init], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(connection, "_CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(connection, "_ray_init", lambda settings, address: ended.wait(60))
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ClusterError) as caught:
        here([address := f"127.0.0.1:{listener.getsockname()[1]}"])
        connect(address="auto")
    ended.set()
    assert str(caught.value) == (
        f"Ray at {address} took the connection but did not answer within 0 s. If a part of it has crashed, "
        "`ray stop --force` ends the rest, and `ray start --head` starts another. Leave ray_address and "
        "RAY_ADDRESS unset to start one for this run alone."
    )


def test_auto_is_what_ray_address_says(
    connect: Callable[..., _Init], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", gone)
    with pytest.raises(ClusterError, match=f"^Nobody answers at ray_address {gone} "):
        connect(address="auto")


def test_a_ray_without_its_private_argument_starts_without_it(
    connect: Callable[..., _Init], caplog: pytest.LogCaptureFixture
) -> None:
    init = connect(RuntimeError("Unknown keyword argument(s): _node_ip_address"), num_cpus=1)
    assert ["_node_ip_address" in call for call in init.calls] == [True, False]
    assert init.calls[1]["num_cpus"] == 1
    assert "So a private Ray listens on this machine's outer address." in caplog.text


def test_no_wait_is_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(connection, "_START_SECONDS", 0.2)
    monkeypatch.setattr(connection, "is_connected", lambda: False)
    monkeypatch.setattr(connection, "_connect", lambda settings, found: ended.wait(60))
    with pytest.raises(
        ClusterError, match=r"^Ray at local did not answer within 0 s\. See that this machine"
    ):
        Connection(Options(ray_address="local").resolve()).wait()
    ended.set()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("local", "starting Ray on this machine"),
        ("auto", "connecting to the Ray on this machine"),
        ("10.0.0.1:6379", "connecting to Ray at 10.0.0.1:6379"),
        ("ray://head:10001", "connecting to Ray at ray://head:10001"),
    ],
)
def test_what_happens_is_said_until_it_has(address: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(connection, "is_connected", lambda: False)
    monkeypatch.setattr(connection, "_connect", lambda settings, found: ended.wait(60))
    made = Connection(Options(ray_address=address, s3_base_path="s3://bucket/x").resolve())
    assert made.doing == said and made.is_ours
    ended.set()
    made.wait()
    assert made.doing is None


@pytest.mark.parametrize(
    ("found", "said"),
    [("local", "starting Ray on this machine"), ("10.0.0.1:6379", "connecting to the Ray on this machine")],
)
def test_where_auto_leads_is_said_once_it_is_known(
    found: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(connection, "is_connected", lambda: False)
    monkeypatch.setattr(connection, "_connect", lambda settings, tell: (tell(found), ended.wait(60)))
    made = Connection(Options(ray_address="auto", s3_base_path="s3://bucket/x").resolve())
    made.find()
    assert made.doing == said
    ended.set()
    made.wait()


def test_a_process_that_is_connected_has_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "is_connected", lambda: True)
    made = Connection(Options(ray_address="local").resolve())
    assert made.doing is None and not made.is_ours


_RAY = """
import atexit

def shutdown(_exiting_interpreter=False):
    print("pauses" if _exiting_interpreter and is_initialized() else "leaves")
    init.done = False

def is_initialized():
    return init.done

def init(**arguments):
    init.done = True

init.done = False
atexit.register(shutdown, _exiting_interpreter=True)
"""
_ENDS = """
import atexit, sys
from ray_decorator.cluster import ray_api
from ray_decorator.cluster.connecting import connection
from ray_decorator.core.options.settings import Options

if "first" in sys.argv:
    import ray
    atexit.register(lambda: print("a hook that needs a Ray"))
ray_api.connection_mark = lambda: "a Ray"
connection.Connection(Options(ray_address="local").resolve()).wait()
if "here" in sys.argv:
    connection.leave_at_once(lambda: "stopped" not in sys.argv)
atexit.register(lambda: print("a later hook"))
"""


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (["here"], ["a later hook", "leaves", "leaves"]),
        ([], ["a later hook", "pauses"]),
        (["here", "stopped"], ["a later hook", "pauses"]),
        (["here", "first"], ["a later hook", "a hook that needs a Ray", "pauses"]),
    ],
)
def test_where_all_is_shown_ray_is_left_without_its_pause_at_a_programs_end(
    how: list[str], said: list[str], tmp_path: Path
) -> None:
    (tmp_path / "ray.py").write_text(
        _RAY
    )  # of Ray, the order in which hooks are called is all that counts here
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _ENDS, *how], env=environ, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == said, done.stderr
