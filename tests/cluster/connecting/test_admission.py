"""What listens at an address is asked before Ray connects; what it says is believed as far as it can be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from ray_decorator.cluster import ray_api
from ray_decorator.cluster.connecting import admission
from ray_decorator.cluster.connecting.admission import check_admission, mismatch, missing_token
from ray_decorator.core.errors import ClusterError

GCS, CLIENT = ray_api._GCS[0], ray_api._CLIENT[0]
Serve = Callable[..., str]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts a gRPC server that knows some methods, and answers each with a status; its address."""
    monkeypatch.setattr(ray_api, "_said", set())
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    started: list[grpc.Server] = []

    def start(**statuses: grpc.StatusCode) -> str:
        server = grpc.server(ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers((_Methods(statuses),))
        started.append(server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return f"127.0.0.1:{port}"

    yield start
    for server in started:
        server.stop(None)


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, statuses: dict[str, grpc.StatusCode]) -> None:
        names = {"gcs": GCS, "client": CLIENT}
        self._statuses = {names[name]: status for name, status in statuses.items()}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method not in self._statuses:
            return None

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            context.set_code(self._statuses[details.method])
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


OK, REFUSED = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED


def test_a_gcs_and_a_ray_client_server_let_in(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    check_admission(serve(gcs=OK))
    check_admission(f"ray://{serve(client=OK)}")
    assert caplog.records == []


def test_the_other_service_is_told_from_a_method_that_was_renamed(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ClusterError, match=r"is not a Ray GCS, whose port is 6379"):
        check_admission(serve(client=OK))
    with pytest.raises(ClusterError, match=r"is not a Ray Client server, whose port is 10001"):
        check_admission(f"ray://{serve(gcs=OK)}")
    caplog.set_level(logging.WARNING)
    renamed = serve()
    for address in (renamed, f"ray://{renamed}"):
        with pytest.raises(
            ClusterError, match="speaks gRPC, but is neither a Ray GCS nor a Ray Client server"
        ):
            check_admission(address)
    assert caplog.records == []
    monkeypatch.setattr(ray_api, "_GCS", ("/ray.rpc.NodeInfoGcsService/AskedByAnotherRay", b""))
    check_admission(renamed)
    check_admission(f"ray://{renamed}")
    (record,) = caplog.records
    assert record.getMessage().endswith(
        "ray.rpc.NodeInfoGcsService/AskedByAnotherRay does not work. So Ray itself has to find out whether "
        f"{renamed} lets this process in."
    )


@pytest.mark.parametrize("prefix", ["", "ray://"])
def test_a_token_that_is_refused(prefix: str, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    address = prefix + serve(gcs=REFUSED, client=REFUSED)
    with pytest.raises(ClusterError, match="asks for a token, and this process sends none"):
        check_admission(address)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/secrets/token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    assert "refuses this process's token (from /secrets/token)" in admission._refused_token(address)


@pytest.mark.parametrize("status", [grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE])
def test_any_other_answer_is_for_ray_to_judge(status: grpc.StatusCode, serve: Serve) -> None:
    check_admission(serve(gcs=status))


def test_where_nothing_can_be_asked_ray_itself_decides(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    address = serve(client=OK)
    monkeypatch.delattr("ray._private.grpc_utils.init_grpc_channel")
    check_admission(address)


def test_advice_is_for_what_differs_alone() -> None:
    ours = "This process on Ray Client was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    said = "Version mismatch: The cluster was started with:\n    Ray: {}\n    Python: {}\n" + ours
    assert "Python has to be" not in str(mismatch("a:1", said.format("2.59.0", "3.11.9")))
    assert "Ray has to be" not in str(mismatch("a:1", said.format("2.60.0", "3.12.1")))
    assert "MATCH_LEVEL" in str(mismatch("a:1", said.format("2.60.0", "3.11.2")))
    assert mismatch("a:1", "something else") is None


def test_no_token_at_all() -> None:
    assert missing_token("a:1").startswith(
        "Cannot connect to Ray at a:1: RAY_AUTH_MODE is token, but there is"
    )
