"""Every private name of Ray that this project uses, here and nowhere else, each behind a function.

Ray may rename or change any of them in any version. Each function then says so once, in a warning (which Ray,
what does not work now), and gives an answer with which its caller goes on: None for "not known".

Imports ray inside functions only, and of this project `core` alone: `node.nested_ray` uses it on nodes.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import mmap
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

log = logging.getLogger(__name__)

PRIVATE_RAY: Mapping[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
"""What `ray.init` is told for a Ray of this process's own: no dashboard, and this machine's own address.

On Linux, Ray replaces that by an outer one and listens to the network, as for any `ray.init()`.
"""

ON_HEAD: Mapping[str, float] = {"node:__internal_head__": 0.001}
"""The resource that only a cluster's head has."""

_ANSWER_SECONDS = 5.0
_NO_PROXY = [("grpc.enable_http_proxy", 0)]
_CHILDREN = "kill_child_processes_on_worker_exit"
_GCS = ("/ray.rpc.NodeInfoGcsService/GetClusterId", b"")
_CLIENT = ("/ray.rpc.RayletDriver/ClusterInfo", b"\x08\x06")  # ClusterInfoRequest(type=PING)

T = TypeVar("T")
_said: set[str] = set()


def without_private(
    arguments: Mapping[str, Any], error: Exception, users: Mapping[str, Any]
) -> dict[str, Any] | None:
    """``arguments`` for `ray.init` without the one of ours that it has refused; None if it was another.

    ``users`` are those of them that the user has given: theirs stay.
    """
    ours = PRIVATE_RAY.keys() & arguments.keys() - users.keys()
    refused = {name for name in ours if name in str(error)}
    if not refused:
        return None
    _warn("ray.init(_node_ip_address=…)", "a private Ray listens on this machine's outer address", error)
    return {name: value for name, value in arguments.items() if name not in refused}


def addresses_here(init_kwargs: Mapping[str, Any]) -> Sequence[str] | None:
    """The GCS address of the Ray on this machine that ``auto`` takes: several where nothing tells which.

    It may have crashed. Ray looks at the raylets that run, and at what `ray start` has noted in its directory.
    """
    with _failing_open("ray._private.services.find_gcs_addresses", "a Ray that has crashed is waited for"):
        import ray._private.services

        services: Any = ray._private.services
        services.find_gcs_addresses.cache_clear()
        running = services.find_gcs_addresses()
        noted = services.find_bootstrap_address(init_kwargs.get("_temp_dir"))
        return sorted(running) if len(running) == 1 or noted is None else [_expected(noted, str)]
    return None


def is_client() -> bool | None:
    """Whether this process is connected by Ray Client (``ray://``)."""
    with _failing_open("ray.util.client.ray.is_connected", "a lost Ray Client is noticed later"):
        import ray.util.client

        connected = ray.util.client.ray.is_connected()  # type: ignore[no-untyped-call]
        return _expected(connected, bool)
    return None


def client_session() -> tuple[str, Sequence[tuple[str, str]]] | None:
    """By Ray Client: the server's ``host:port``, and what names this client to it. None for any other connection.

    Also None where the channel has credentials of its own, which no other process can be given.
    """
    with _failing_open(
        "ray.util.client.ray.get_context().client_worker", "jobs of a killed driver end later"
    ):
        if not is_client():
            return None
        import ray.util.client

        worker: Any = ray.util.client.ray.get_context().client_worker  # type: ignore[no-untyped-call]
        if worker._credentials is None:
            return _expected(worker._conn_str, str), _expected(worker.metadata, list)
    return None


def end_client(address: str, client: Sequence[tuple[str, str]]) -> None:
    """End the session of a client that has gone, as `client_session` named it. Called in another process."""
    with _failing_open("ray_client_pb2_grpc.RayletDataStreamerStub", "jobs of a killed driver end later"):
        from ray._private.grpc_utils import init_grpc_channel
        from ray.core.generated import ray_client_pb2, ray_client_pb2_grpc

        messages: Any = ray_client_pb2
        services: Any = ray_client_pb2_grpc
        asked = messages.DataRequest(connection_cleanup=messages.ConnectionCleanupRequest())
        stub = services.RayletDataStreamerStub(init_grpc_channel(address, options=_NO_PROXY))
        metadata = [*map(tuple, client), ("reconnecting", "True")]
        for _ in stub.Datapath(iter([asked]), metadata=metadata, timeout=2 * _ANSWER_SECONDS):
            pass


def leave_refusing_server() -> None:
    """From now on, a `ray.init` that a Ray Client server refuses raises that at once.

    Such a server keeps the refused client's stream open for 30 s, should it come back, and Ray waits for its end.
    """
    name = "ray.util.client.worker.Worker._server_init"
    with _failing_open(name, "a connection that Ray Client refuses is told, and made once more, after 30 s"):
        from ray.util.client.worker import Worker

        client: Any = Worker
        refusable = client._server_init
        if hasattr(refusable, "__wrapped__"):
            return

        @functools.wraps(refusable)
        def init(worker: Any, *arguments: Any, **options: Any) -> Any:
            try:
                return refusable(worker, *arguments, **options)
            except ConnectionAbortedError:
                with contextlib.suppress(AttributeError):  # of a Ray that has renamed them: it waits, as ever
                    worker.data_client._can_reconnect = lambda _: False
                    worker._in_shutdown = True
                    worker.channel.close()
                raise

        client._server_init = init


def connection_mark() -> str | None:
    """What tells this process's connection to a Ray from an earlier and a later one; "" where there is none."""
    with _failing_open(
        "ray.util.client.ray.get_context().client_worker", "another Ray may pass for the first one"
    ):
        import ray

        if not ray.is_initialized():
            return ""
        client = ray.util.client.ray
        if client.is_connected():  # type: ignore[no-untyped-call]
            return f"client {id(client.get_context().client_worker)}"  # type: ignore[no-untyped-call]
        here = ray.get_runtime_context()
        return f"{here.get_node_id()} {here.get_job_id()}"
    return None


def in_ray_task() -> bool | None:
    """Whether this process is a Ray worker, which runs a task."""
    then = "jobs that a task starts may wait for ever for the CPUs that the task itself holds"
    with _failing_open("ray.get_runtime_context().worker.mode", then):
        import ray

        if not ray.is_initialized():  # else Ray would start one to tell
            return False
        return _expected(ray.get_runtime_context().worker.mode, int) == ray.WORKER_MODE
    return None


def output_source() -> tuple[Any, str] | None:
    """What shows workers' output here, and its function for that; None where Ray shows nothing.

    The function's argument is a mapping with ``lines``, or, called ``msg``, the text.
    """
    name = "ray._private.ray_logging.global_worker_stdstream_dispatcher"
    with _failing_open(name, "a job may be reported as done before its last lines are shown"):
        if is_client():
            import ray.util.client

            return ray.util.client.ray.get_context().client_worker.log_client, "stdstream"  # type: ignore[no-untyped-call]
        from ray._private.ray_logging import global_worker_stdstream_dispatcher as dispatcher

        return (dispatcher, "emit") if dispatcher.handlers and not in_ray_task() else None
    return None


def join_node(node_id: str) -> None:
    """Have `ray.init` connect to this node, where several are on this machine.

    Ray's own search takes the head, and no public argument of `ray.init` names a node.
    """
    with _failing_open(
        "ray._private.services.find_node_ids", "a nested Ray may join another node of this machine"
    ):
        import ray._private.services as services

        if not callable(services.find_node_ids):
            raise TypeError("it is no function")
        services.find_node_ids = lambda: [node_id]


def join_placement_group(group: str, captures: bool) -> None:
    """Let this driver be in a placement group, as a task is: its id in hex, "" for none.

    ``captures``: its own tasks join it too.
    """
    name = "ray._private.worker.Worker.placement_group_id"
    with _failing_open(
        name, "a job elsewhere does not see its placement group, nor do its own tasks join it"
    ):
        import ray
        from ray._private.worker import Worker

        found = ray.PlacementGroupID(bytes.fromhex(group)) if group else ray.PlacementGroupID.nil()
        values = {"placement_group_id": found, "should_capture_child_tasks_in_placement_group": captures}
        for each in values:
            _expected(getattr(Worker, each), property)
            setattr(Worker, each, property(lambda _, each=each: values[each]))  # type: ignore[misc]


def end_worker_with_next_task() -> bool:
    """Have this Ray worker end with the task that it gets next: no function of it has a call left."""
    name = "ray._private.worker.global_worker.function_actor_manager"
    with _failing_open(name, "a process whose job has left threads or children takes further jobs"):
        import ray._private.worker

        manager: Any = ray._private.worker.global_worker.function_actor_manager
        for function, info in list(manager.execution_infos.items()):
            bound = manager.get_task_counter(function) + 1
            manager.execution_infos[function] = info._replace(max_calls=bound)
        return True
    return False


def spare_children() -> None:
    """Have this Ray worker not kill its children when it ends: some are to live on.

    Ray's own setting for that belongs to nodes. Each worker has a copy, which it reads when it ends.
    """
    name = f"ray._raylet.Config.initialize({_CHILDREN})"
    with _failing_open(name, "what a job is to keep ends with its Ray worker"):
        from ray import _raylet

        raylet: Any = _raylet
        with open(raylet.__file__, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as code:
            is_known = code.find(f"{_CHILDREN}\0".encode()) >= 0
        if not is_known:  # Ray aborts the process for such a one
            raise LookupError("it has no such setting")
        raylet.Config.initialize(json.dumps({_CHILDREN: False}))


def give_excepthook_back() -> None:
    """Put the excepthook from before Ray's own back.

    Ray's tells the GCS of an uncaught exception before it prints it, and never prints it once that is gone.
    """
    with _failing_open("ray._private.worker.custom_excepthook", "an uncaught exception may not be printed"):
        import ray._private.worker as worker

        if sys.excepthook is worker.custom_excepthook:
            sys.excepthook = worker.normal_excepthook


def greet_gcs(address: str) -> str | None:
    """The name of the gRPC status with which a GCS at ``address`` answers a harmless question.

    With this process's token, if it is to send one. None where there is no answer, or it cannot be asked.
    """
    return _greet(address, *_GCS)


def greet_client(address: str) -> str | None:
    """As `greet_gcs`, for a Ray Client server."""
    return _greet(address, *_CLIENT)


def has_greetings() -> bool:
    """Whether the Ray here has both questions itself: then what knows neither is no service of its kind."""
    with contextlib.suppress(Exception):  # whatever a Ray does that we have not seen
        from google.protobuf.descriptor_pool import Default  # type: ignore[import-untyped]
        from ray.core.generated import gcs_service_pb2, ray_client_pb2  # noqa: F401

        for method, _ in (_GCS, _CLIENT):
            Default().FindMethodByName(method.strip("/").replace("/", "."))
        return True
    return False


def cannot_greet(address: str) -> None:
    """Say that what listens at ``address`` knows none of the questions."""
    _warn(_GCS[0].strip("/"), f"Ray itself has to find out whether {address} lets this process in")


def node_types_on_head() -> Callable[[], tuple[list[tuple[str, Any, Any]], list[str]]]:
    """A function for a task on the head: the name, resources and labels of each kind of node that the
    cluster's autoscaler can add (None for what is not known of it), and what could not be looked at.

    Some autoscalers report their node types to the GCS; the one of `ray up` keeps them in the file that its
    process on the head was given, and leaves only a status in the GCS. It travels by value, for the cluster
    need not have this package.
    """

    def look() -> tuple[list[tuple[str, Any, Any]], list[str]]:
        import glob
        import json

        import ray

        def reported() -> list[tuple[str, Any, Any]]:
            from ray._private.state import state

            config = state.get_cluster_config()
            groups = config.node_group_configs if config is not None else ()
            return [(group.name, dict(group.resources), None) for group in groups if group.max_count]

        def configured(named: str) -> list[tuple[str, Any, Any]]:
            import yaml

            with open(named) as file:
                config = yaml.safe_load(file)
            return [
                (name, kind.get("resources") or None, kind.get("labels") or {})
                for name, kind in config["available_node_types"].items()
                if name != config["head_node_type"] and kind.get("max_workers", 1)
            ]

        def started_with() -> list[tuple[str, Any, Any]]:
            port = ray.get_runtime_context().gcs_address.rpartition(":")[2]
            for path in glob.glob("/proc/[0-9]*/cmdline"):
                try:
                    with open(path, "rb") as file:
                        command = [part.decode(errors="replace") for part in file.read().split(b"\0")]
                except OSError:  # it has ended meanwhile
                    continue
                options = dict(part.split("=", 1) for part in command if part[:2] == "--" and "=" in part)
                ours = options.get("--gcs-address", "").endswith(f":{port}")
                if ours and "--autoscaling-config" in options and any("monitor" in part for part in command):
                    return configured(options["--autoscaling-config"])
            return []

        def seen() -> list[tuple[str, Any, Any]]:
            from ray.experimental.internal_kv import _internal_kv_get

            status = json.loads(_internal_kv_get("__autoscaling_status") or "{}")
            kinds = (status.get("autoscaler_report") or {}).get("node_type_mapping") or {}
            # without an autoscaler, Ray invents a type for each node
            return [("", None, None)] if any(not kind.startswith("node_") for kind in kinds.values()) else []

        problems = []
        for ask in (reported, started_with, seen):
            try:
                if found := ask():
                    return found, []
            except Exception as exc:
                problems.append(f"{type(exc).__name__}: {exc}")
        return [], problems

    return look


def cannot_tell_node_types(problem: object) -> None:
    """Say that it is not known what nodes the cluster's autoscaler can add."""
    then = "jobs that no node can serve now wait, as if an autoscaler could add one that does"
    _warn("ray._private.state.state.get_cluster_config", then, problem)


def _greet(address: str, method: str, request: bytes) -> str | None:
    import ray.exceptions

    refusal = getattr(ray.exceptions, "AuthenticationError", None)
    if refusal is None:  # a Ray from before it asked for tokens
        return None
    name = "ray._private.grpc_utils.init_grpc_channel"
    with _failing_open(name, "Ray itself finds out about a wrong token or port, in 20 to 30 s"):
        import grpc  # type: ignore[import-untyped]
        from ray._private.grpc_utils import init_grpc_channel

        channel = None
        try:
            channel = init_grpc_channel(address.removeprefix("ray://"), options=_NO_PROXY)
            channel.unary_unary(method)(request, timeout=_ANSWER_SECONDS)
            return "OK"
        except grpc.RpcError as exc:
            return _expected(exc.code().name, str)
        except refusal:  # there is no token to send, which Ray will say
            return None
        finally:
            if channel is not None:
                channel.close()
    return None


@contextlib.contextmanager
def _failing_open(name: str, then: str) -> Iterator[None]:
    """For a block that uses ``name`` of Ray's: where it fails, a warning says so once, and ``then``."""
    try:
        yield
    except Exception as exc:  # whatever a Ray does that we have not seen
        _warn(name, then, exc)


def _warn(name: str, then: str, problem: object = None) -> None:
    import ray

    if name in _said:
        return
    _said.add(name)
    kind = f"{type(problem).__name__}: " if isinstance(problem, BaseException) else ""
    why = f" ({kind}{problem})" if problem is not None else ""
    version = getattr(ray, "__version__", "of this environment")
    log.warning(
        "Ray %s is not as this project knows it: %s does not work%s. So %s.", version, name, why, then
    )


def _expected(answer: Any, kind: type[T]) -> T:
    if not isinstance(answer, kind):
        raise TypeError(f"it answered {answer!r}, not a {kind.__name__}")
    return answer
