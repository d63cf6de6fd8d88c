"""What is no Ray is named within seconds, with what to do; what is one goes on to Ray."""

from __future__ import annotations

import http.server
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from ray_decorator.cluster.connecting import listener
from ray_decorator.cluster.connecting.listener import check_listener
from ray_decorator.core.errors import ClusterError

Answer = Callable[[socket.socket], None]
Serve = Callable[[Answer], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that treats each connection so, and then closes it; its address."""
    started: list[socketserver.ThreadingTCPServer] = []

    def start(answer: Answer) -> str:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                answer(self.request)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        started.append(server)
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        return f"127.0.0.1:{server.server_address[1]}"

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def _said(address: str) -> str:
    with pytest.raises(ClusterError) as caught:
        check_listener(address)
    (line,) = str(caught.value).splitlines()
    assert f" ray_address {address}" in line
    return line


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.recv(1)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            lambda c: c.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
            " is an SSH server (SSH-2.0-OpenSSH_9.2), not Ray.",
        ),
        (lambda c: c.sendall(b"-ERR unknown command 'PRI'\r\n"), " is a Redis server, not Ray."),
        (
            lambda c: c.sendall(b"220 mail\x1b[31m ready\r\n"),
            " is not Ray: it answers '220 mail?[31m ready'.",
        ),
        (lambda c: c.sendall(b"short"), " is not Ray: it answers 'short'."),
        (lambda c: None, " closes each connection without an answer, as a tunnel does"),
        (_reset, " closes each connection without an answer, as a tunnel does"),
    ],
    ids=["ssh", "redis", "mail", "short", "closes", "resets"],
)
def test_what_is_no_ray_is_named(answer: Answer, said: str, serve: Serve) -> None:
    line = _said(serve(answer))
    assert said in line
    assert line.endswith("Leave ray_address unset to run on this machine.")


def test_what_is_silent_is_waited_for_within_a_bound(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_ANSWER_SECONDS", 0.2)
    ended = threading.Event()

    def stay_silent(connection: socket.socket) -> None:
        ended.wait(60)

    line = _said(serve(stay_silent))
    ended.set()
    assert " takes connections, but has said nothing for 0 s. Check host and port" in line


class _Pages(http.server.BaseHTTPRequestHandler):
    server_version, sys_version, page = "Pages/1", "", b"hello"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.page)))
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *_: object) -> None:
        pass


class _Dashboard(_Pages):
    page = b'{"version": "4", "ray_version": "2.60.0", "ray_commit": "x", "session_name": "y"}'


class _Guarded(_Pages):
    page = b"Unauthorized: Missing authentication token"


@pytest.mark.parametrize("prefix", ["", "ray://"])
def test_the_dashboard_is_told_from_other_pages(prefix: str) -> None:
    said = []
    for pages in (_Pages, _Dashboard, _Guarded):
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), pages) as server:
            threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
            said.append(_said(f"{prefix}127.0.0.1:{server.server_address[1]}"))
            server.shutdown()
    assert " is an HTTP server (Pages/1), not Ray. Check host and port" in said[0]
    for line in said[1:]:
        assert (
            " is Ray's dashboard, which takes no jobs. Use 127.0.0.1:6379 (the GCS) or ray://127.0.0.1"
            in line
        )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    key, made = (tmp_path_factory.mktemp("tls") / name for name in ("key.pem", "cert.pem"))
    subject = [
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=x",
    ]
    command = ["openssl", "req", *subject, "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return key, made


@pytest.mark.parametrize("wants_ours", [False, True])
def test_tls_is_asked_for_on_both_ends(
    wants_ours: bool, serve: Serve, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, made = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    if wants_ours:
        context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(made)

    def greet(connection: socket.socket) -> None:
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError as exc:  # a client that does not go on is what is tried here
            assert isinstance(exc, ssl.SSLError | ConnectionError)

    address = serve(greet)
    assert " speaks TLS, and this process does not. If it is Ray, set RAY_USE_TLS=1, RAY_TLS_CA_" in _said(
        address
    )
    check_listener(address, tls=True)
    monkeypatch.setenv("RAY_USE_TLS", "1")
    check_listener(address)


def test_a_grpc_server_goes_on_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    check_listener(address)
    check_listener(f"ray://{address}")
    monkeypatch.setenv("RAY_USE_TLS", "true")
    assert " does not speak TLS, and RAY_USE_TLS is set here. If it is Ray, unset that." in _said(address)
    server.stop(None)
    assert f"Nobody answers at ray_address {address} (" in _said(address)
