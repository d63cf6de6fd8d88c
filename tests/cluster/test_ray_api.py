"""A Ray that lacks one of the private names, or answers otherwise, is a warning, said once, and no more."""

from __future__ import annotations

import ast
import functools
import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cluster_bed
import pytest
import ray
import ray._private.grpc_utils
import ray._private.services
import ray._private.worker
import ray.util.client
from ray.util.client.worker import Worker

from ray_decorator.cluster import autoscaler, capacity, ray_api
from ray_decorator.cluster.capacity import check_feasible

SOURCE = cluster_bed.REPO / "ray_decorator"
NOBODY = "127.0.0.1:1"
Patch = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_api, "_said", set())


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    caplog.set_level(logging.INFO, logger=ray_api.__name__)
    yield lambda: [record.getMessage() for record in caplog.records if record.name == ray_api.__name__]


def without(name: str, **fakes: Any) -> Any:
    """``name`` is not there, or is what is given for it instead."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        if "instead" in fakes:
            monkeypatch.setattr(name, fakes["instead"])
        elif name in sys.modules:
            monkeypatch.delattr(name)
            monkeypatch.setitem(sys.modules, name, None)
        else:
            monkeypatch.delattr(name)

    return pytest.param(patch, id=f"{name} {'is another' if fakes else 'is missing'}")


def fails_open(use: Callable[[], Any], said: Callable[[], list[str]], name: str, then: str) -> Any:
    answers = {use(), use()}
    (line,) = said()
    assert line.startswith(f"Ray {ray.__version__} is not as this project knows it: {name} does not work (")
    assert line.endswith(f"). So {then}.")
    return answers.pop()


@pytest.mark.parametrize(
    "patch",
    [
        without("ray.util.client.ray"),
        without("ray.util.client"),
        without("ray.util.client.ray", instead=SimpleNamespace(is_connected=lambda: "perhaps")),
    ],
)
def test_whether_ray_client_is_used(
    patch: Patch, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    assert ray_api.is_client() is False
    assert said() == []
    patch(monkeypatch)
    name = "ray.util.client.ray.is_connected"
    assert fails_open(ray_api.is_client, said, name, "a lost Ray Client is noticed later") is None


@pytest.mark.ray
@pytest.mark.parametrize("worker", [SimpleNamespace(), SimpleNamespace(_credentials=None, _conn_str=7)])
def test_what_names_a_client(
    worker: object, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    assert ray_api.client_session() is None
    context = SimpleNamespace(client_worker=worker)
    monkeypatch.setattr(
        ray.util.client, "ray", SimpleNamespace(is_connected=lambda: True, get_context=lambda: context)
    )
    name, then = "ray.util.client.ray.get_context().client_worker", "jobs of a killed driver end later"
    assert fails_open(ray_api.client_session, said, name, then) is None
    context.client_worker = SimpleNamespace(_credentials=None, _conn_str="h:1", metadata=[("client_id", "x")])
    assert ray_api.client_session() == ("h:1", [("client_id", "x")])
    context.client_worker._credentials = object()
    assert ray_api.client_session() is None


@pytest.mark.parametrize(
    "patch",
    [
        without("ray.core.generated.ray_client_pb2_grpc.RayletDataStreamerStub"),
        without("ray._private.grpc_utils.init_grpc_channel"),
    ],
)
def test_the_end_of_a_client_that_is_gone(
    patch: Patch, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    patch(monkeypatch)
    name, then = "ray_client_pb2_grpc.RayletDataStreamerStub", "jobs of a killed driver end later"
    fails_open(lambda: ray_api.end_client("127.0.0.1:1", []), said, name, then)


@pytest.mark.parametrize(
    "patch", [without("ray.util.client.worker"), without("ray.util.client.worker.Worker._server_init")]
)
def test_that_a_server_which_refuses_is_left(
    patch: Patch, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    patch(monkeypatch)
    name = "ray.util.client.worker.Worker._server_init"
    then = "a connection that Ray Client refuses is told, and made once more, after 30 s"
    fails_open(ray_api.leave_refusing_server, said, name, then)


@pytest.mark.parametrize("error", [ConnectionAbortedError("no"), OSError("gone")])
def test_a_refusal_by_a_ray_that_has_renamed_the_rest(
    error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(worker: object) -> None:
        raise error

    monkeypatch.setattr(Worker, "_server_init", refuse)
    ray_api.leave_refusing_server()
    with pytest.raises(OSError) as caught:
        Worker._server_init(SimpleNamespace())
    assert caught.value is error
    wrapped = Worker._server_init
    ray_api.leave_refusing_server()
    assert Worker._server_init is wrapped


@pytest.mark.parametrize("mode", [None, "worker"])
def test_whether_this_is_a_task(
    mode: str | None, ray_session: str, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    assert ray_api.in_ray_task() is False

    @ray.remote
    def inside() -> bool | None:
        from ray_decorator.cluster.ray_api import in_ray_task

        return in_ray_task()

    assert ray.get(inside.remote()) is True
    assert said() == []
    worker = SimpleNamespace() if mode is None else SimpleNamespace(mode=mode)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(worker=worker))
    then = "jobs that a task starts may wait for ever for the CPUs that the task itself holds"
    name = "ray.get_runtime_context().worker.mode"
    assert fails_open(ray_api.in_ray_task, said, name, then) is None


def test_without_a_connection_no_ray_is_started_to_tell_whether_this_is_a_task() -> None:
    program = "from ray_decorator.cluster.ray_api import in_ray_task\nassert in_ray_task() is False\n"
    program += "import ray; assert not ray.is_initialized()"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=100)


@pytest.mark.parametrize(
    "patch",
    [
        without("ray._private.services.find_node_ids"),
        without("ray._private.services"),
        without("ray._private.services.find_node_ids", instead=7),
    ],
)
def test_which_node_a_nested_ray_joins(
    patch: Patch, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    services = ray._private.services
    monkeypatch.setattr(services, "find_node_ids", services.find_node_ids)
    ray_api.join_node("abc")
    assert services.find_node_ids() == ["abc"]
    assert said() == []
    patch(monkeypatch)
    name, then = "ray._private.services.find_node_ids", "a nested Ray may join another node of this machine"
    fails_open(lambda: ray_api.join_node("abc"), said, name, then)


@pytest.mark.ray
@pytest.mark.parametrize(
    "patch",
    [
        without("ray._private.ray_logging.global_worker_stdstream_dispatcher"),
        without("ray._private.ray_logging.global_worker_stdstream_dispatcher", instead=7),
    ],
)
def test_what_shows_the_workers_output(
    patch: Patch, ray_session: str, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    found = ray_api.output_source()
    assert found is not None and callable(getattr(*found))
    assert said() == []
    patch(monkeypatch)
    name = "ray._private.ray_logging.global_worker_stdstream_dispatcher"
    then = "a job may be reported as done before its last lines are shown"
    assert fails_open(ray_api.output_source, said, name, then) is None


@pytest.mark.parametrize(
    "patch", [without("ray._private.worker.global_worker.function_actor_manager", instead=7)]
)
def test_that_a_worker_ends_with_its_next_task(
    patch: Patch, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    patch(monkeypatch)
    name = "ray._private.worker.global_worker.function_actor_manager"
    then = "a process whose job has left threads or children takes further jobs"
    assert fails_open(ray_api.end_worker_with_next_task, said, name, then) is False


def test_that_a_worker_spares_what_it_has_started(
    monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    """Ray itself would abort this process for a setting that it does not know."""
    ray_api.spare_children()
    assert said() == []
    monkeypatch.setattr(ray_api, "_CHILDREN", "renamed")
    name, then = "ray._raylet.Config.initialize(renamed)", "what a job is to keep ends with its Ray worker"
    fails_open(ray_api.spare_children, said, name, then)


@pytest.mark.parametrize(
    "patch",
    [
        without("ray._private.worker.Worker.placement_group_id"),
        without("ray._private.worker.Worker.placement_group_id", instead=7),
    ],
)
def test_which_placement_group_a_driver_is_in(
    patch: Patch, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    patch(monkeypatch)
    name = "ray._private.worker.Worker.placement_group_id"
    then = "a job elsewhere does not see its placement group, nor do its own tasks join it"
    fails_open(lambda: ray_api.join_placement_group("", False), said, name, then)


@pytest.mark.parametrize(
    "patch",
    [without("ray._private.worker.custom_excepthook"), without("ray._private.worker.normal_excepthook")],
)
def test_the_excepthook(patch: Patch, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]) -> None:
    worker = ray._private.worker
    monkeypatch.setattr(sys, "excepthook", worker.custom_excepthook)
    ray_api.give_excepthook_back()
    assert sys.excepthook is worker.normal_excepthook
    assert said() == []
    sys.excepthook = worker.custom_excepthook
    patch(monkeypatch)
    name = "ray._private.worker.custom_excepthook"
    fails_open(ray_api.give_excepthook_back, said, name, "an uncaught exception may not be printed")


@pytest.mark.parametrize(
    "patch",
    [
        without("ray._private.grpc_utils"),
        without("ray._private.grpc_utils.init_grpc_channel"),
        without("ray._private.grpc_utils.init_grpc_channel", instead=lambda *_, **__: "no channel"),
        without("ray._private.grpc_utils.init_grpc_channel", instead=lambda address: None),
    ],
)
@pytest.mark.parametrize("greet", [ray_api.greet_gcs, ray_api.greet_client])
def test_asking_before_connecting(
    greet: Callable[[str], str | None],
    patch: Patch,
    monkeypatch: pytest.MonkeyPatch,
    said: Callable[[], list[str]],
) -> None:
    assert greet(NOBODY) == "UNAVAILABLE"
    assert said() == []
    patch(monkeypatch)
    name = "ray._private.grpc_utils.init_grpc_channel"
    then = "Ray itself finds out about a wrong token or port, in 20 to 30 s"
    assert fails_open(lambda: greet(NOBODY), said, name, then) is None


def test_the_ray_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    def there(*running: str) -> Sequence[str] | None:
        monkeypatch.setattr("ray._private.services.find_gcs_addresses", functools.cache(lambda: {*running}))
        return ray_api.addresses_here({"_temp_dir": str(tmp_path)})

    one, other = "10.0.0.1:1", "10.0.0.1:2"
    assert [there(), there(one), there(other, one)] == [[], [one], [one, other]]
    (tmp_path / "ray_current_cluster").write_text("10.0.0.1:2\n")  # as `ray start` does
    assert [there(), there(one), there(one, other)] == [[other], [one], [other]]
    assert said() == []
    monkeypatch.delattr("ray._private.services.find_gcs_addresses")
    name = "ray._private.services.find_gcs_addresses"
    then = "a Ray that has crashed is waited for"
    assert fails_open(lambda: ray_api.addresses_here({}), said, name, then) is None


def test_a_ray_from_before_it_asked_for_tokens_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    monkeypatch.delattr("ray.exceptions.AuthenticationError")
    monkeypatch.setitem(sys.modules, "ray._private.grpc_utils", None)
    assert ray_api.greet_gcs(NOBODY) is None
    assert said() == []


def test_the_private_argument_of_ray_init(said: Callable[[], list[str]]) -> None:
    arguments = {**ray_api.PRIVATE_RAY, "num_cpus": 1}
    error = RuntimeError("Unknown keyword argument(s): _node_ip_address")
    kept = {"include_dashboard": False, "num_cpus": 1}
    for _ in range(2):
        assert ray_api.without_private(arguments, error, {}) == kept
    (line,) = said()
    assert "ray.init(_node_ip_address=…) does not work (RuntimeError: Unknown keyword" in line
    assert line.endswith("So a private Ray listens on this machine's outer address.")
    assert ray_api.without_private(arguments, RuntimeError("the disk is full"), {}) is None
    assert ray_api.without_private(arguments, error, {"_node_ip_address": "10.0.0.1"}) is None


_LOST = {
    "state": "ray._private.state",
    "internal_kv": "ray.experimental.internal_kv",
}


@pytest.mark.ray
@pytest.mark.parametrize("lost", _LOST.values(), ids=_LOST)
def test_what_an_autoscaler_can_add(
    lost: str,
    ray_session: str,
    monkeypatch: pytest.MonkeyPatch,
    said: Callable[[], list[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert autoscaler.node_types() == ()
    look = ray_api.node_types_on_head()

    def without_it() -> Any:
        import sys

        kept = sys.modules.get(lost)
        sys.modules[lost] = None  # type: ignore[assignment]
        try:
            return look()
        finally:
            del sys.modules[lost]
            if kept is not None:
                sys.modules[lost] = kept

    monkeypatch.setattr(ray_api, "node_types_on_head", lambda: without_it)
    monkeypatch.setattr(capacity, "_said", set())
    nodes = [{"Resources": {"CPU": 1}}]
    check_feasible({"num_gpus": 1}, nodes)
    check_feasible({"num_gpus": 2}, nodes)
    (line,) = said()
    assert f"ModuleNotFoundError: import of {lost} halted" in line
    assert line.endswith(
        "So jobs that no node can serve now wait, as if an autoscaler could add one that does."
    )
    waits = [record.getMessage() for record in caplog.records if "yet: jobs wait" in record.getMessage()]
    assert waits == [
        f"No node has GPU={count} yet: jobs wait for the autoscaler to add one, if it has a type of node "
        "for that."
        for count in (1, 2)
    ]


def test_an_autoscaler_that_answers_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray.experimental.internal_kv

    monkeypatch.setattr(ray.experimental.internal_kv, "_internal_kv_get", lambda key: b"[not json")
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(gcs_address=None), raising=True)
    monkeypatch.setattr(
        "ray._private.state.state", SimpleNamespace(get_cluster_config=lambda: SimpleNamespace())
    )
    found, problems = ray_api.node_types_on_head()()
    assert found == []
    assert [problem.partition(":")[0] for problem in problems] == [
        "AttributeError", "AttributeError", "JSONDecodeError",
    ]  # fmt: skip


_PRIVATE = re.compile(r"\bray\._|\b_private\b|\b_internal|__internal|ray\.util\.client\b|worker\.mode")


def test_private_names_of_ray_are_nowhere_else() -> None:
    found = []
    for path in _modules():
        tree = _parsed(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute | ast.Import | ast.ImportFrom | ast.Constant):
                text = ast.unparse(node)
                is_argument = isinstance(node, ast.Constant) and node.value in _ARGUMENTS
                if _PRIVATE.search(text.replace("hydra._internal", "")) or is_argument:
                    found.append(f"{path.name}: {text.splitlines()[0]}")
            if isinstance(node, ast.keyword) and node.arg in _ARGUMENTS:
                found.append(f"{path.name}: {node.arg}=")
    assert found == []


_ARGUMENTS = {
    "_node_ip_address",
    "_temp_dir",
    "_system_config",
    "_node_name",
    "_metrics_export_port",
    "_memory",
}
"""Private arguments of `ray.init`."""


def _modules() -> Iterator[Path]:
    yield from (path for path in SOURCE.rglob("*.py") if path != SOURCE / "cluster" / "ray_api.py")
    yield from (cluster_bed.REPO / "hydra_plugins").rglob("*.py")


@functools.cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def test_ray_is_imported_in_functions_of_three_packages_alone() -> None:
    found = []
    for path in (*_modules(), SOURCE / "cluster" / "ray_api.py"):
        tree = _parsed(path)
        inside = {
            node
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef)
            for node in ast.walk(function)
        }
        allowed = path.relative_to(cluster_bed.REPO).parts[1] in ("cluster", "node", "job")
        for node in ast.walk(tree):
            if _imports_ray(node) and not (allowed and node in inside):
                found.append(f"{path.relative_to(cluster_bed.REPO)}: {ast.unparse(node)}")
    assert found == []


def _imports_ray(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.partition(".")[0] == "ray" for alias in node.names)
    return isinstance(node, ast.ImportFrom) and not node.level and f"{node.module}.".startswith("ray.")
