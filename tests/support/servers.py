"""Real S3 servers on 127.0.0.1, and a proxy that counts what they are asked. Each stops with its block."""

from __future__ import annotations

import http.client
import math
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.request import Request, urlopen

ACCESS_KEY = "accesskey"
SECRET_KEY = "secretkey123"
BUCKET = "bucket"
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@dataclass(frozen=True)
class Server:
    """A running S3 server; ``directory`` holds its buckets, where it keeps them as files."""

    kind: str
    endpoint: str
    directory: Path | None
    pid: int

    def environment(self) -> dict[str, str]:
        """What a user sets to work with it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@contextmanager
def rclone(directory: Path, *options: str, scheme: str = "http") -> Iterator[Server]:
    """``rclone serve s3``: checks credentials; each object is a file below ``directory``/bucket."""
    (directory / BUCKET).mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        os.path.join(os.path.dirname(sys.executable), "rclone"), "serve", "s3", str(directory),
        "--addr", f"127.0.0.1:{port}", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}",
        "--config", "/dev/null", "--log-level", "ERROR", *options,
    ]  # fmt: skip
    with _running(command, port) as pid:
        yield Server("rclone", f"{scheme}://127.0.0.1:{port}", directory, pid)


@contextmanager
def moto() -> Iterator[Server]:
    """``moto_server``: does ranges and multipart; lets everybody in."""
    port = free_port()
    with _running(
        [os.path.join(os.path.dirname(sys.executable), "moto_server"), "-p", str(port)], port
    ) as pid:
        endpoint = f"http://127.0.0.1:{port}"
        urlopen(Request(f"{endpoint}/{BUCKET}", method="PUT", headers={"Host": f"127.0.0.1:{port}"})).read()
        yield Server("moto", endpoint, None, pid)


class Requests:
    """What went through a proxy, in order, as ``GET``, ``PUT``, ``HEAD``, ``LIST``…, with the path.

    ``seen`` leaves out what is sent again: rclone answers 500 to some PUTs while it makes directories.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.flying = self.most_flying = 0

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.seen]

    def paths(self, verb: str) -> list[str]:
        return [path for seen, path in self.seen if seen == verb]


Fault = Literal["500", "501", "503", "lost", "cut", "reset", "stall", "stall in the body", "slow"]
_STALL_SECONDS = 60.0  # then it hangs up
_SLOW_SECONDS = 10.0
_PIECE = 64 * 1024
_SAID = {
    "500": b"<Error><Code>InternalError</Code></Error>",
    "501": b"<Error><Code>NotImplemented</Code></Error>",
    "503": b"<Error><Code>SlowDown</Code></Error>",
}


@contextmanager
def counting(
    server: Server,
    refuse: Callable[[str, str], bool] = lambda verb, path: False,
    fault: Callable[[str, str], Fault | None] = lambda verb, path: None,
    uplink: float = math.inf,
    rewritten: Callable[[str], str] = lambda path: path,
) -> Iterator[tuple[Server, Requests]]:
    """The same server behind a proxy that counts the requests, and answers AccessDenied to some.

    ``fault``: what befalls a request: the answer 500, 501 or 503 and nothing done; a ``reset`` of the connection
    before it is read; done, and the answer ``lost``; done, and the answer ``cut`` in the middle of its body; nothing
    is done, and nobody answers (``stall``), or no more of an answer comes (``stall in the body``); all is well, but
    ``slow``. ``uplink``: so many bytes of all bodies come through in a second, in turns. ``rewritten``: the path and
    query that the server is asked for instead; only moto takes what was signed otherwise.
    """
    free = [0.0]  # from when on the line carries what comes next
    requests, lock, closing = Requests(), threading.Lock(), threading.Event()
    upstream = re.sub("^https?://", "", server.endpoint)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = b"".join(self._arriving(int(self.headers.get("Content-Length") or 0)))
            verb = _verb(self.command, self.path)
            with lock:
                if verb != "PUT" or (verb, self.path) not in requests.seen:
                    requests.seen.append((verb, self.path))
                requests.flying += 1
                requests.most_flying = max(requests.most_flying, requests.flying)
                befalls = fault(verb, self.path)
            try:
                if befalls in _SAID:
                    return self._answer(int(befalls), {}, _SAID[befalls])
                if befalls == "slow":
                    closing.wait(_SLOW_SECONDS)
                if befalls in ("reset", "stall"):
                    closing.wait(_STALL_SECONDS if befalls == "stall" else 0)
                    self.close_connection = True
                    return
                status, headers, data = self._ask(body)
            finally:
                with lock:
                    requests.flying -= 1
            if befalls == "lost":
                self.close_connection = True
                return
            if refuse(verb, self.path) or (status == 404 and refuse(f"missing {verb}", self.path)):
                status, headers, data = 403, {}, _DENIED
            self._answer(status, headers, data, cut=befalls in ("cut", "stall in the body"))
            if befalls == "stall in the body":
                self.wfile.flush()
                closing.wait(_STALL_SECONDS)

        def _arriving(self, size: int) -> Iterator[bytes]:
            for left in range(size, 0, -_PIECE):
                piece = self.rfile.read(min(left, _PIECE))
                if uplink < math.inf:
                    with lock:
                        free[0] = max(free[0], time.monotonic()) + len(piece) / uplink
                    closing.wait(free[0] - time.monotonic())
                yield piece

        def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            # a connection for each: one kept open may be closed by the server just when it is used again
            connection = http.client.HTTPConnection(upstream)
            try:
                connection.putrequest(
                    self.command, rewritten(self.path), skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    connection.putheader(name, value)  # Host too: it is signed
                connection.endheaders(body)
                response = connection.getresponse()
                return response.status, dict(response.getheaders()), response.read()
            finally:
                connection.close()

        def _answer(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
            self.send_response(status)
            length = str(len(data))
            for name, value in headers.items():
                if name.lower() == "content-length" and self.command == "HEAD":
                    length = value
                elif name.lower() not in (
                    "transfer-encoding",
                    "connection",
                    "date",
                    "server",
                    "content-length",
                ):
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[: len(data) // 2] if cut else data)
            if cut:
                self.close_connection = True

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _forward

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Proxy(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # clients hang up

    proxy = Proxy(("127.0.0.1", 0), Handler)
    if uplink < math.inf:  # what a client that hung up had in it would keep the line busy
        proxy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield (
            Server(server.kind, f"http://127.0.0.1:{proxy.server_port}", server.directory, server.pid),
            requests,
        )
    finally:
        closing.set()
        proxy.shutdown()
        proxy.server_close()


@contextmanager
def web_pages(status: int) -> Iterator[str]:
    """The address of a server that answers everything with a web page and this status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Last-Modified", self.date_time_string())
            self.send_header("Content-Length", "13")
            self.end_headers()
            self.wfile.write(b"<html></html>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _verb(method: str, path: str) -> str:
    return "LIST" if method == "GET" and "list-type=2" in path else method


@contextmanager
def _running(command: list[str], port: int) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(process, port)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} exited with {process.returncode}")
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen on port {port}")
